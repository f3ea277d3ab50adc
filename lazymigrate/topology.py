"""What the kind and the state of the servers mean for upgrades: two of the checkups of `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lazymigrate.doctor import Facts, Finding, listed
from lazymigrate.schema import Schema
from lazymigrate.throttling import Health
from lazymigrate.verification import printable

__all__ = ["members", "server"]

LAG = 10.0  # seconds; what a sweep waits for by default
PRIMARY, SECONDARY, ARBITER = 1, 2, 7  # states of a replica set's members


def server(_: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether the server has what the library needs."""
    if facts.build is None:
        yield Finding("note", "server", "its version is not known.", "5.0 is needed, and 6.0 for the backlog index.")
        return
    version = printable(str(facts.build.get("version", "unknown")))
    major = major_of(facts.build)
    compatibility = facts.compatibility or ""
    if major < 5:
        said = f"MongoDB {version} is older than 5.0: upgrades inside the server fail there."
        yield Finding("problem", "server", said, "Upgrade the server, to 6.0 or later.")
    elif major < 6:
        said = f"MongoDB {version} has no backlog index (6.0 has): to find what is outdated, it reads the whole collection."
        yield Finding("warning", "server", said, "Upgrade the server to 6.0 or later.")
    elif compatibility.split(".")[0].isdecimal() and int(compatibility.split(".")[0]) < 6:
        said = f"MongoDB {version} behaves like {printable(compatibility)}, which has no backlog index."
        yield Finding("warning", "server", said, "Finish its upgrade: setFeatureCompatibilityVersion.")
    elif not compatibility:
        said = f"MongoDB {version}; whether it behaves like an older one (featureCompatibilityVersion) is not known."
        yield Finding("ok", "server", said)
    else:
        yield Finding("ok", "server", f"MongoDB {version}.")


def major_of(build: Mapping[str, Any]) -> int:
    parts = build.get("versionArray") or [0]
    return int(parts[0])


def members(_: Schema, facts: Facts) -> Iterator[Finding]:
    """What kind of servers these are, and how they are."""
    hello = facts.hello
    if hello.get("msg") == "isdbgrid":
        yield from shards(facts)
    elif not hello.get("setName"):
        yield Finding(
            "warning",
            "members",
            "a standalone server: what it acknowledged can be lost with it, and there are no transactions and no change "
            "streams (watch).",
            "Make it a replica set; one of a single member will do for tests.",
        )
    else:
        yield from replica_set(facts)


def shards(facts: Facts) -> Iterator[Finding]:
    """What is different behind a router."""
    yield Finding(
        "note",
        "members",
        "a sharded cluster: its routers do not say how far secondaries follow behind, so a sweep cannot wait for them.",
        "Give the sweep a --rate, or --nice.",
    )
    if facts.shard_key is None:
        said = "whether the collection is sharded is not known: this user may not read 'config.collections'."
        yield Finding("note", "members", said, "Let a user with the role clusterMonitor look.")
    elif facts.shard_key and [*facts.shard_key] != ["_id"]:
        yield Finding(
            "warning",
            "members",
            f"the collection is sharded by {listed([*facts.shard_key])}: a compare-and-set finds its document by _id alone, "
            "and is sent to every shard.",
            "Expect a sweep to load all shards, and give it a --rate; no revision may change the shard key.",
        )


def replica_set(facts: Facts) -> Iterator[Finding]:
    """Whether the members are up, and a majority of them can acknowledge."""
    hello, replication = facts.hello, facts.replication
    name = printable(str(hello["setName"]))
    if not hello.get("isWritablePrimary"):
        yield Finding(
            "problem",
            "members",
            f"the server is no primary of '{name}': it takes no writes.",
            "Name all members in the URI with replicaSet=, without directConnection; or wait for the election.",
        )
    if replication is None:
        yield Finding(
            "warning",
            "members",
            f"a replica set '{name}', but not how its members are: a sweep cannot see how far secondaries follow behind.",
            "Give the user the role clusterMonitor.",
        )
        return
    every = list(replication.get("members", ()))
    bearing = [one for one in every if one.get("health") == 1 and one.get("state") in (PRIMARY, SECONDARY)]
    down = [str(one.get("name", "")) for one in every if one.get("state") not in (PRIMARY, SECONDARY, ARBITER)]
    needed = int(replication.get("writeMajorityCount", 1))
    if len(bearing) < needed:
        yield Finding(
            "problem",
            "members",
            f"'{name}' has {len(bearing)} members that hold data and are up, and a majority is {needed}: what a sweep "
            "writes is never acknowledged.",
            f"Bring {listed(down) if down else 'the members'} back.",
        )
    elif down:
        verb = "is" if len(down) == 1 else "are"
        yield Finding(
            "warning", "members", f"{listed(down)} of '{name}' {verb} not up.", "Bring it back before a sweep."
        )
    lag = Health.of(replication, facts.status)
    if lag.lag is not None and lag.lag > LAG:
        who = printable(lag.slowest or "a secondary")
        said = f"{who} follows {lag.lag:,.0f} s behind: a sweep waits until it is within {LAG:.0f} s."
        yield Finding("warning", "members", said, "See why it is slow; --max-lag says what to wait for.")
    arbiters = [str(one.get("name", "")) for one in every if one.get("state") == ARBITER]
    if arbiters:
        yield Finding(
            "warning",
            "members",
            f"{listed(arbiters)} is an arbiter, which holds no data: when a member that does is down, a majority may be "
            "missing, and a sweep waits for it.",
            "Replace the arbiter by a member that holds data.",
        )
    if len(every) == 1:
        yield Finding(
            "note",
            "members",
            f"'{name}' is a replica set of one: its majority is this server alone.",
            "That is right for tests; production wants three members.",
        )
    if facts.status is None:
        said = "serverStatus is refused: a sweep cannot see whether the server is overloaded."
        yield Finding("warning", "members", said, "Give the user the role clusterMonitor.")
    if len(every) > 1 and not down and not arbiters:
        yield Finding("ok", "members", f"'{name}' has {len(every)} members, all up.")
