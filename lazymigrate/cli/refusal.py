"""What an error of the driver or the server means for the person at the terminal.

Nothing is said in the words of the error itself, which may hold values, names and the URI: its kind is looked up here.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, NetworkTimeout, OperationFailure, PyMongoError

from lazymigrate.verification import printable

__all__ = ["named", "refusal", "unresolved"]

URI: Final = "the URI in --uri, LAZYMIGRATE_MONGODB_URI or MONGODB_URI"
CAUSES: Final = (
    # what the driver's text holds on one system or another, the cause in plain words, the remedy
    (r"connection refused|actively refused", "the connection was refused", f"Start it, or correct {URI}."),
    (
        r"name or service not known|nodename nor servname|getaddrinfo failed|no address assoc|name resolution",
        "the name of the host is not known",
        f"Correct {URI}, or mend the DNS.",
    ),
    (
        r"\[SSL|SSL handshake failed|certificate verify failed",
        "the TLS handshake failed",
        "Check `tls` and `tlsCAFile` in the URI, and the server's certificate.",
    ),
    (
        r"\btimed out\b",
        "it timed out",
        f"Check the firewall and the list of addresses that are let in, or correct {URI}.",
    ),
    (r"unreachable|no route to host", "no network leads there", f"Check the network, or correct {URI}."),
    (
        r"connection closed|connection reset",
        "it closed the connection",
        "Check whether it wants TLS (`tls=true` in the URI), and its log.",
    ),
    (
        r"for replica set name",
        "no member belongs to the replica set that was named",
        "Correct `replicaSet` in the URI.",
    ),
    (r"no primary available", "there is no primary", "Wait for the election, or check the replica set."),
)
RESOLUTIONS: Final = {
    # the class of the resolver's error, what it means
    "NXDOMAIN": "DNS has no entry for the name in the mongodb+srv:// URI",
    "NoAnswer": "DNS has no SRV record for the name in the mongodb+srv:// URI",
    "NoNameservers": "no DNS server answered for the name in the mongodb+srv:// URI",
    "LifetimeTimeout": "DNS did not answer in time for the name in the mongodb+srv:// URI",
    "NoResolverConfiguration": "no DNS server is configured, and a mongodb+srv:// URI needs one",
}
ON_A_COLLECTION: Final = frozenset(
    {
        *("find", "aggregate", "count", "distinct", "insert", "update", "delete", "findAndModify"),
        *("create", "collMod", "collStats", "drop", "createIndexes", "dropIndexes", "listIndexes"),
    }
)
"""The commands whose first value is the name of a collection, and nothing else."""


def named(client: MongoClient[Any]) -> str:
    """The servers that a client knows, without the URI."""
    servers = client.topology_description.server_descriptions()
    return ", ".join(sorted(f"{host}:{port}" if port else host for host, port in servers)) or "an unknown address"


def refusal(client: MongoClient[Any], error: PyMongoError) -> str:
    """What went wrong and what to do about it, never with a value, the user or the password."""
    where = f"MongoDB at {named(client)}"
    if isinstance(error, OperationFailure):
        return refused(where, error)
    if isinstance(error, ConnectionFailure):
        causes = found_causes(client, error)
        if not causes:
            return f"{where} does not answer ({type(error).__name__}). Start it, or correct {URI}."
        return f"{where} does not answer: {' and '.join(causes)}. {' '.join(causes.values())}"
    return f"{where}: the command failed ({type(error).__name__}). Check the server's log."


def found_causes(client: MongoClient[Any], error: PyMongoError) -> dict[str, str]:
    """Why servers do not answer, each cause with its remedy; none where nothing is known of it."""
    each = [server.error for server in client.topology_description.server_descriptions().values()]
    errors: list[Exception] = [one for one in each if one is not None] or [error]
    return {cause: remedy for one in errors for cause, remedy in [cause_of(one)] if cause}


def cause_of(error: Exception) -> tuple[str, str]:
    """The cause of one server's error in plain words, and its remedy; both empty where it is none of those known."""
    said = "timed out" if isinstance(error, NetworkTimeout) else str(error).partition(", Timeout:")[0]
    known = ((cause, remedy) for pattern, cause, remedy in CAUSES if re.search(pattern, said, flags=re.IGNORECASE))
    return next(known, ("", ""))


def unresolved(error: Exception) -> str | None:
    """Why the servers of a mongodb+srv:// URI are not known; None for an error of another kind."""
    meaning = RESOLUTIONS.get(type(error.__cause__ or error.__context__).__name__)
    return None if meaning is None else f"{meaning}. Correct the name in {URI}, or mend the DNS."


def refused(where: str, error: OperationFailure) -> str:
    """What the server would not do, by its code; what is missing, where the server says it."""
    details = error.details or {}
    name = details.get("codeName")
    code = f"code {error.code}, {printable(str(name))}" if name else f"code {error.code}"
    if error.code == 18:
        return f"{where} refused the command ({code}). Check the user name, the password and authSource in the URI."
    if error.code == 13:
        said = str(details.get("errmsg", ""))
        anonymous = re.search(r"ommand (\w+) requires authentication", said)
        if anonymous:
            return (
                f"{where} refused the command `{anonymous[1]}` ({code}): nobody has logged in. Put a user name and a "
                "password into the URI."
            )
        denied = re.search(r'not authorized on (\S+) to execute command \{ (\w+): (?:"([^"\\]*)")?', said)
        if denied:
            database, command, collection = denied[1], denied[2], denied[3]
            on = f"{database}.{collection}" if collection and command in ON_A_COLLECTION else database
            return (
                f"{where} refused the command ({code}): this user may not `{command}` in {printable(on)}. Grant it: "
                "`lazymigrate doctor` lists the rights that are needed."
            )
    return f"{where} refused the command ({code}). Check what this user may do, and the server's log."
