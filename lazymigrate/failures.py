"""What a failure means, how long to go on in spite of it, and how many documents may fail.

A failure has one of three verdicts:

| verdict       | says something of                   | so                                                              |
|---------------|-------------------------------------|-----------------------------------------------------------------|
| `"transient"` | a moment of the server or network   | try again; a compare-and-set that was applied meanwhile loses    |
| `"document"`  | a document                          | halve the batch, down to that document; list it in the quarantine |
| `"fatal"`     | the collection, the user, the code  | stop: every other document would fail in the same way           |

The codes and their names are those of MongoDB's `error_codes.yml`. A code that is in no table is a document's: the
server has a number of its own for every way in which an expression can fail, thousands of them. Where that is wrong,
every document fails, and the `Budget` ends the run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf, sqrt
from random import Random
from typing import Any, Literal

__all__ = ["TOO_LARGE", "Backoff", "Budget", "Verdict", "is_about_document", "of_error", "verdict"]

Verdict = Literal["transient", "document", "fatal"]

TRANSIENT: Mapping[int, str] = {
    # The network, also the one between the servers
    6: "HostUnreachable",
    7: "HostNotFound",
    89: "NetworkTimeout",
    145: "PooledConnectionsDropped",
    190: "MasterSlaveConnectionFailure",
    202: "NetworkInterfaceExceededTimeLimit",
    279: "ClientDisconnect",
    303: "SplitHorizonChange",
    317: "ConnectionPoolExpired",
    384: "ConnectionError",
    407: "PooledConnectionAcquisitionExceededTimeLimit",
    9001: "SocketException",
    91331: "RetriableRemoteCommandFailure",
    # An election, a shutdown, or a server that has just come up
    91: "ShutdownInProgress",
    109: "ConfigurationInProgress",
    133: "FailedToSatisfyReadPreference",  # a router that knows of no primary just now
    134: "ReadConcernMajorityNotAvailableYet",
    189: "PrimarySteppedDown",
    203: "ShardingStateNotInitialized",
    211: "KeyNotFound",  # the keys that sign the cluster's time are not there yet
    216: "ElectionInProgress",
    10058: "LegacyNotPrimary",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
    # A router that must learn where the documents are now
    63: "StaleShardVersion",
    150: "StaleEpoch",
    249: "StaleDbVersion",
    250: "StaleChunkHistory",
    272: "MigrationConflict",
    319: "MovePrimaryInProgress",
    343: "ShardCannotRefreshDueToLocksHeld",
    406: "MigrationBlockingOperationCoordinatorCleaningUp",
    453: "InterruptedDueToReshardingCriticalSection",
    13388: "StaleConfig",
    # A lock, a conflict, or a time limit
    24: "LockTimeout",
    46: "LockBusy",
    50: "MaxTimeMSExpired",
    107: "LockFailed",
    112: "WriteConflict",
    117: "ConflictingOperationInProgress",
    262: "ExceededTimeLimit",
    267: "PreparedTransactionInProgress",
    12586: "BackgroundOperationInProgressForDatabase",
    12587: "BackgroundOperationInProgressForNamespace",
    # A cursor, a plan, a snapshot, a session or a transaction that is gone
    43: "CursorNotFound",
    143: "CursorInUse",
    175: "QueryPlanKilled",
    206: "NoSuchSession",
    237: "CursorKilled",
    239: "SnapshotTooOld",
    246: "SnapshotUnavailable",
    251: "NoSuchTransaction",
    290: "TransactionExceededLifetimeLimitSeconds",
    314: "ObjectIsBusy",
    358: "InternalTransactionNotSupported",
    # Not enough members confirmed a write in time; it was applied, and is confirmed with the next one that is
    64: "WriteConcernTimeout",
    # Stopped by an operator or by the server itself: the operation, not the sweep
    276: "IndexBuildAborted",
    355: "InterruptedDueToStorageChange",
    11601: "Interrupted",
    46841: "ClientMarkedKilled",
    10045600: "InterruptedDueToFCVChange",
    # Too much to do
    264: "TooManyFilesOpen",
    365: "TemporarilyUnavailable",
    402: "ResourceExhausted",
    412: "UpdatesStillPending",
    433: "AdmissionQueueOverflow",
    449: "RateLimitExceeded",
    450: "PooledConnectionAcquisitionRejected",
    462: "IngressRequestRateLimitExceeded",
    # Credentials that were good and have run out: the driver renews them
    391: "ReauthenticationRequired",
}

DOCUMENT: Mapping[int, str] = {
    # What a pipeline makes of it; most of the server's codes for that have no name
    2: "BadValue",  # division by zero, for one
    14: "TypeMismatch",
    15: "Overflow",  # nested more deeply than BSON may be
    139: "JSInterpreterFailure",
    241: "ConversionFailure",
    # What may not be stored
    52: "DollarPrefixedFieldName",
    53: "InvalidIdField",
    56: "EmptyFieldName",
    57: "DottedFieldName",
    66: "ImmutableField",
    116: "DocTooLargeForCapped",
    121: "DocumentValidationFailure",
    283: "WouldChangeOwningShard",
    10003: "CannotGrowDocumentInCappedNamespace",
    10334: "BSONObjectTooLarge",
    17419: "the document is larger than 16 MiB after the update",
    17420: "the document is larger than 16 MiB after the replacement",
    # What an index does not take
    171: "CannotIndexParallelArrays",
    11000: "DuplicateKey",
    16755: "a geospatial index cannot read the field",
    17262: "a text index does not know the language",
    17280: "KeyTooLong",
}

FATAL: Mapping[int, str] = {
    # The user
    11: "UserNotFound",
    13: "Unauthorized",
    18: "AuthenticationFailed",
    # The collection, or what is there under its name
    20: "IllegalOperation",
    26: "NamespaceNotFound",
    72: "InvalidOptions",  # a time-series collection, for one
    73: "InvalidNamespace",
    166: "CommandNotSupportedOnView",
    167: "OptionNotSupportedOnView",
    361: "CollectionUUIDMismatch",
    # The command
    9: "FailedToParse",
    27: "IndexNotFound",
    40: "ConflictingUpdateOperators",
    59: "CommandNotFound",
    115: "CommandNotSupported",
    168: "InvalidPipelineOperator",
    224: "QueryFeatureNotAllowed",
    238: "NotImplemented",
    263: "OperationNotSupportedInTransaction",
    291: "NoQueryExecutionPlans",
    292: "QueryExceededMemoryLimitNoDiskUseAllowed",
    322: "APIVersionError",
    323: "APIStrictError",
    324: "APIDeprecationError",
    # The deployment
    76: "NoReplicationEnabled",
    79: "UnknownReplWriteConcern",
    100: "UnsatisfiableWriteConcern",
    101: "OutdatedClient",
    123: "NotAReplicaSet",
    148: "ReadConcernMajorityNotEnabled",
    371: "UserWritesBlocked",  # by an operator, and for longer than anybody would wait
    411: "QueryRejectedBySettings",
    14031: "OutOfDiskSpace",
}

TOO_LARGE = frozenset({10334, 17419, 17420})

VERDICTS: dict[int, Verdict] = {
    **dict.fromkeys(TRANSIENT, "transient"),
    **dict.fromkeys(DOCUMENT, "document"),
    **dict.fromkeys(FATAL, "fatal"),
}

# By which a server or a driver says itself that another try may do
LABELS = frozenset(
    {
        "RetryableError",
        "RetryableReadError",
        "RetryableWriteError",
        "SystemOverloadedError",
        "TransientTransactionError",
        "UnknownTransactionCommitResult",
    }
)

# The classes of errors that come without a code, or with one that is in no table; of pymongo, bson, Python and this library
KINDS: Mapping[str, Verdict] = {
    "ConnectionFailure": "transient",  # and its children: no primary, a time-out, a lost connection
    "ConnectionError": "transient",
    "TimeoutError": "transient",
    "WriteConcernError": "transient",  # the write was applied: it is its confirmation that is missing
    "WriteError": "document",
    "BSONError": "document",
    "OverflowError": "document",  # an integer of more than 64 bits
    "ValueError": "document",  # a string that is no Unicode, for one
    "DocumentError": "document",
}

GRAVEST: tuple[Verdict, ...] = ("fatal", "transient", "document")
PARTS = {"writeErrors": "WriteError", "writeConcernErrors": "WriteConcernError"}  # of a bulk's error


def verdict(code: int | None, labels: Collection[str], kind: str) -> Verdict:
    """What an error with this code, these labels and this class (or parent) says; the one place where that is decided."""
    if not LABELS.isdisjoint(labels):
        return "transient"
    if code in VERDICTS:
        return VERDICTS[code]
    if kind in KINDS:
        return KINDS[kind]
    return "fatal" if code is None else "document"


def is_about_document(code: int | None) -> bool:
    """Whether the code of a refused write says something of the document, and not of the server, the user or the collection."""
    return verdict(code, (), "WriteError") == "document"


def of_error(error: BaseException) -> Verdict:
    """What an exception says; that of a bulk says the gravest of what its parts say."""
    labelled = getattr(error, "has_error_label", lambda _: False)
    labels = [label for label in LABELS if labelled(label)]
    details: Any = getattr(error, "details", None) or {}
    parts: set[Verdict] = {
        verdict(part.get("code"), labels, kind) for name, kind in PARTS.items() for part in details.get(name, ())
    }
    if parts:
        return min(parts, key=GRAVEST.index)
    kind = next((parent.__name__ for parent in type(error).__mro__ if parent.__name__ in KINDS), "")
    code = getattr(error, "code", None)
    return verdict(code if isinstance(code, int) else None, labels, kind)


class Backoff:
    """How long to wait before the next try: twice as long each time, and never beyond a patience without one success.

    Each wait is drawn from the upper half of its length, so that many clients do not come back at the same moment. The
    last try is made when the patience (in seconds, since the first failure) ends.
    """

    __slots__ = ("_deadline", "_first", "_length", "_longest", "_patience", "_random")

    def __init__(self, random: Random, *, first: float = 0.05, longest: float = 5.0, patience: float = 300.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._patience = patience
        self.succeeded()

    def succeeded(self) -> None:
        """Begin afresh: the next failure is a first one."""
        self._length = self._first
        self._deadline: float | None = None

    def wait(self, now: float) -> float | None:
        """After a failure: for how many seconds to wait; None when it is time to give up."""
        if self._deadline is None:
            self._deadline = now + self._patience
        if now >= self._deadline:
            return None
        seconds = self._length * self._random.uniform(0.5, 1.0)
        self._length = min(self._longest, self._length * 2)
        return min(seconds, self._deadline - now)


class Budget:
    """How many documents may fail before a run ends: by default 1 % of those that are tried, and always a hundred.

    - `max_failures` None: more than 1 %, or 200 in a row; a number below 1: more than that share, or 200 in a row. A share
      counts as exceeded when chance does not explain it: four standard deviations above it, and more than a hundred
      documents, so that a run whose documents fail at just this rate is not ended by a cluster of them.
    - 1 or more, or 0: more than so many documents.
    """

    __slots__ = ("_absolute", "_max", "failed", "in_a_row", "tried")

    DEFAULT_SHARE = 0.01
    FEWEST = 100
    DEVIATIONS = 4.0
    LONGEST_ROW = 200

    def __init__(self, max_failures: float | None = None) -> None:
        number = self.DEFAULT_SHARE if max_failures is None else max_failures
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < inf:
            raise ValueError(self._wrong(max_failures))
        if number >= 1 and number != int(number):
            raise ValueError(self._wrong(max_failures))
        self._absolute = number == 0 or number >= 1
        self._max = number
        self.tried = 0
        self.failed = 0
        self.in_a_row = 0

    @staticmethod
    def _wrong(max_failures: object) -> str:
        return (
            f"max_failures={max_failures!r}: choose how many documents may fail (a whole number), which share of them (a "
            "number between 0 and 1), or None for 1 %."
        )

    def succeeded(self, documents: int = 1) -> None:
        """Count documents that were tried and did not fail."""
        if documents > 0:
            self.tried += documents
            self.in_a_row = 0

    def interrupted_row(self) -> None:
        """Note that a document did not fail so far: those that did before it are not in a row with those after it."""
        self.in_a_row = 0

    def refused(self, documents: int = 1) -> None:
        """Count documents that were tried and failed, one after the other."""
        self.tried += documents
        self.failed += documents
        self.in_a_row += documents

    @property
    def limit(self) -> float:
        """How many of the documents that were tried may have failed."""
        if self._absolute:
            return self._max
        expected = self._max * self.tried
        return max(self.FEWEST, expected + self.DEVIATIONS * sqrt(expected))

    @property
    def exceeded(self) -> bool:
        """Whether the run is to end."""
        return self.reason() is not None

    def reason(self) -> str | None:
        """Why the run is to end, in a sentence and a remedy; None while it may go on."""
        if self.failed > self.limit:
            what = f"{self.failed:,} of {self.tried:,} documents that were tried have failed, and "
            what += f"max_failures is {self._max:,.12g}" if self._absolute else f"{self._max * 100:g} % may"
        elif not self._absolute and self.in_a_row >= self.LONGEST_ROW:
            what = f"{self.in_a_row:,} documents in a row have failed"
        else:
            return None
        return (
            f"{what}. Look at the quarantine, correct the revision or the documents, and go on; or raise max_failures."
        )
