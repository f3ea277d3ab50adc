"""Real documents that changed their shape five times: one collection, six releases of a public data set.

mledoze/countries describes some 250 countries, and every release moved something: a name became an object, a capital a
list, a list of currency codes an object of currencies. Here six releases lie side by side, as they do in a collection
that nobody rewrote. The schema says how each release became the next and the model what the newest looks like; every
document is read at head, whatever release it came from. What is worth a look:

- A value that a document has is kept: a capital of 2014 stays the capital of 2014. What the newer shape asks for and the
  document does not say (is it a member of the UN?) is looked up in the newest release, by `cca3`.
- A country that is not there (Kosovo was `KOS` and became `UNK`) gets the values of `UNKNOWN`.
- A change that an operation can say is one: 21 of the 33 steps of the revisions are declared. The others are calls of
  functions among them, because they look something up, or make keys or text out of values. A sweep takes documents of
  such a revision through the client. Revision 6 has no call: all of it can run inside MongoDB.
- Four of the five revisions have a way back. In two it is that of their steps. Two remove or merge something, and are
  given a function. The first has none: what it drops cannot be restored.

Run it with `python examples/01_countries.py` on the excerpt beside it, or on full data with the name of a directory
that holds `countries-1.4.0.json` … `countries-5.1.0.json`. It needs a MongoDB (see `lazymigrate.embedded`).
"""

import json
import sys
import uuid
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal

import pymongo
from pydantic import BaseModel, ConfigDict, Field
from pymongo.database import Database

from lazymigrate import LazyCollection, Schema, embedded, ops
from lazymigrate.fields import ObjectId

Document = dict[str, Any]

RELEASES = ("1.4.0", "1.8.1", "2.1.0", "3.0.0", "4.1.1", "5.1.0")  # the shapes of version 1, 2, … 6
EXCERPT = json.loads(Path(__file__).with_name("countries.json").read_text("utf-8"))

# What newer releases know and an older document does not. (1.4.0 has two-letter codes, and some neighbours by name.)
NEWEST: dict[str, Document] = {}  # the newest release, by cca3: see `load`
CURRENCIES: dict[str, Document] = EXCERPT["currencies"]  # name and symbol, by code
LANGUAGES: dict[str, str] = EXCERPT["languages"]  # three-letter code, by English name
REGIONAL_GROUPS = {cca3: group for group, members in EXCERPT["regionalGroups"].items() for cca3 in members}
THREE_LETTERS = {"cy": "cym", "de": "deu", "es": "spa", "fr": "fra", "hr": "hrv", "it": "ita", "ja": "jpn", "nl": "nld"}
NEIGHBOURS = {"Burma": "MMR", "The Gambia": "GMB"}

UNKNOWN: Document = {  # a country that the newest release does not have: the data set's own signs for "not known"
    "name": {"native": {}},
    "cioc": "",
    "independent": None,
    "status": "",
    "unMember": None,
    "translations": {},
    "latlng": [],
    "landlocked": None,
    "demonyms": {"eng": {"f": "", "m": ""}, "fra": {"f": "", "m": ""}},
}


def looked_up(country: Document) -> Document:
    return NEWEST.get(country["cca3"], UNKNOWN)


def from_newest(*fields: str) -> ops.Operation:
    """New fields, with the values of the newest release; going back they are removed."""

    def set_fields(country: Document) -> None:
        newest = looked_up(country)
        country.update({field: newest[field] for field in fields})

    def remove_fields(country: Document) -> None:
        for field in fields:
            del country[field]

    return ops.call(set_fields, touches=fields, reads={"cca3"}, back=remove_fields)


def replace_whole(field: str, old: Any, new: Any) -> ops.Operation:
    """As `replace_values`, which leaves lists and subdocuments to Python; this runs inside MongoDB, too."""

    def replaced(country: Document) -> Any:
        value = country.get(field)
        return new if value == old else value

    mongo = {"$cond": [{"$eq": [f"${field}", {"$literal": old}]}, {"$literal": new}, f"${field}"]}
    return ops.compute(field, python=replaced, mongo=mongo)


def keep(country: Document) -> None:
    """The way back of what was only mended or found: it stays."""


def named(common: str, newest: Document) -> Document:
    """A name with its official form: from the newest release where that has the same name, else the name itself."""
    return {"common": common, "official": newest["official"] if common in newest.values() else common}


def key_languages(country: Document) -> None:
    country["languages"] = {LANGUAGES.get(name, "und"): name for name in country["languages"]}


def make_names_objects(country: Document) -> None:
    newest = looked_up(country)
    native = {code: dict(name) for code, name in newest["name"]["native"].items()}
    own = country.pop("nativeName")
    if own and not any(own in known.values() for known in native.values()):
        native[next(iter(country["languages"]), "und")] = {"common": own, "official": own}
    country["name"] = {**named(country["name"], newest["name"]), "native": native}
    known = newest["translations"]
    country["translations"] = {code: named(name, known.get(code, {})) for code, name in country["translations"].items()}


def mend_lists(country: Document) -> None:
    country["altSpellings"] = [spelling for spelling in country["altSpellings"] if spelling]
    country["borders"] = [NEIGHBOURS.get(border, border) for border in country["borders"]]


def draw_flag(country: Document) -> None:
    country["flag"] = "".join(chr(ord(letter) - ord("A") + 0x1F1E6) for letter in country["cca2"])


def remove_flag(country: Document) -> None:
    del country["flag"]


def find_position(country: Document) -> None:
    country["latlng"] = country["latlng"] or list(looked_up(country)["latlng"])


def name_currencies(country: Document) -> None:
    codes = country["currencies"]
    country["currencies"] = {code: dict(CURRENCIES.get(code, {"name": code, "symbol": ""})) for code in codes}


def split_calling_codes(country: Document) -> None:
    calls = country["idd"]["suffixes"]
    zones = {call[0] for call in calls}
    root = zones.pop() if len(zones) == 1 else ""
    country["idd"] = {"root": root and f"+{root}", "suffixes": [call.removeprefix(root) for call in calls]}


def complete_demonyms(country: Document) -> None:
    newest, demonyms = looked_up(country)["demonyms"], country["demonyms"]
    if not demonyms["eng"]["m"]:
        demonyms["eng"] = dict(newest["eng"])
    demonyms["fra"] = dict(newest["fra"])


def remove_french(country: Document) -> None:
    del country["demonyms"]["fra"]


def mend_suffixes(country: Document) -> None:
    country["idd"]["suffixes"] = [suffix.rstrip("X") for suffix in country["idd"]["suffixes"]]


countries = Schema("countries")

# 1.4.0 → 1.8.1: names are objects, keyed by languages of three letters. No way back to the relevance.
countries.revision(
    2,
    ops.remove("relevance"),
    ops.remove("languageCodes"),
    ops.replace_values("tld", [([""], [])]),
    ops.replace_values("currency", [([""], [])]),
    ops.replace_values("callingCode", [([""], [])]),
    ops.replace_values("language", [([""], [])]),
    ops.rename("language", "languages"),
    ops.call(key_languages, touches={"languages"}),
    ops.rename_keys("translations", THREE_LETTERS),
    ops.call(make_names_objects, touches={"name", "nativeName", "translations"}, reads={"cca3", "languages"}),
    ops.call(mend_lists, touches={"altSpellings", "borders"}),
    from_newest("cioc", "landlocked"),
    name="names_as_objects",
)

# 1.8.1 → 2.1.0: a country can have several capitals, or none; independence, ISO status and flag are new.
countries.revision(
    3,
    ops.replace_values("capital", {"": None}),
    ops.wrap("capital"),  # null becomes []; going back the first capital stays, and the others are lost
    ops.rename_keys("translations", {"svk": "slk"}),  # the country, and its language
    from_newest("independent", "status"),
    ops.call(draw_flag, touches={"flag"}, reads={"cca2"}, back=remove_flag),
    ops.call(find_position, touches={"latlng"}, reads={"cca3"}, back=keep),
    name="capitals",
)

# 2.1.0 → 3.0.0: currencies have names and symbols; calling codes are split after the first digit.
currencies = countries.revision(
    4,
    ops.rename("currency", "currencies"),
    ops.call(name_currencies, touches={"currencies"}),
    ops.rename("callingCode", "idd.suffixes"),
    ops.call(split_calling_codes, touches={"idd"}),
    ops.remove("translations.common"),  # a stray string in two documents of 2.1.0
    name="currencies",
)


@currencies.downgrade  # what is removed has no way back of its own, so the revision is given one
def currency_codes(country: Document) -> None:
    idd = country.pop("idd")
    country["currency"] = list(country.pop("currencies"))
    calls = [idd["root"].removeprefix("+") + suffix for suffix in idd["suffixes"]]
    country["callingCode"] = [call for call in calls if call]


# 3.0.0 → 4.1.1: demonyms by language and gender; membership in the UN is new. Going back, the English one for a man stays.
countries.revision(
    5,
    ops.copy("demonym", "demonyms.eng.f"),
    ops.rename("demonym", "demonyms.eng.m"),
    ops.call(complete_demonyms, touches={"demonyms"}, reads={"cca3"}, back=remove_french),
    ops.replace_values("currencies", [([], {})]),  # 3.0.0 has [] for none …
    ops.call(mend_suffixes, touches={"idd"}, back=keep),  # … and "6XX" for "6"
    from_newest("unMember"),
    name="demonyms",
)

# 4.1.1 → 5.1.0: the UN's regional group is new; none is [], where 4.1.1 has [""]. All of it can run inside MongoDB.
regional_group = countries.revision(
    6,
    ops.copy("cca3", "unRegionalGroup"),
    ops.replace_values("unRegionalGroup", REGIONAL_GROUPS, otherwise=""),
    replace_whole("capital", [""], []),
    replace_whole("idd", {"root": "", "suffixes": [""]}, {"root": "", "suffixes": []}),
    name="regional_group",
)


@regional_group.downgrade
def no_regional_group(country: Document) -> None:
    del country["unRegionalGroup"]
    country["capital"] = country["capital"] or [""]


Alpha3 = Annotated[str, Field(pattern="^[A-Z]{3}$")]
LanguageCode = Annotated[str, Field(pattern="^[a-z]{3}$")]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")  # and no defaults: what validates has these fields and no others


class Name(Shape):
    common: str
    official: str


class CountryName(Name):
    native: dict[LanguageCode, Name]


class Currency(Shape):
    name: str
    symbol: str


class CallingCodes(Shape):
    root: Annotated[str, Field(pattern=r"^(\+[1-9])?$")]
    suffixes: list[Annotated[str, Field(pattern=r"^\d*$")]]


class Demonym(Shape):
    f: str
    m: str


@countries.model
class Country(Shape):
    id: ObjectId = Field(alias="_id")
    name: CountryName
    tld: list[str]
    cca2: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    ccn3: Annotated[str, Field(pattern=r"^(\d{3})?$")]
    cca3: Alpha3
    cioc: Alpha3 | Literal[""]
    independent: bool | None
    status: Literal["officially-assigned", "user-assigned", ""]
    un_member: bool | None = Field(alias="unMember")
    un_regional_group: str = Field(alias="unRegionalGroup")
    currencies: dict[Alpha3, Currency]
    idd: CallingCodes
    capital: list[str]
    alt_spellings: list[str] = Field(alias="altSpellings")
    region: Literal["Africa", "Americas", "Antarctic", "Asia", "Europe", "Oceania", ""]
    subregion: str
    languages: dict[LanguageCode, str]
    translations: dict[LanguageCode, Name]
    latlng: Annotated[list[float], Field(max_length=2)]
    landlocked: bool | None
    borders: list[Alpha3]
    area: float  # -1 where it is not known
    flag: str
    demonyms: dict[Literal["eng", "fra"], Demonym]


def load(directory: Path | None = None) -> list[list[Document]]:
    """The documents of each release, the oldest first; what the newer ones know is looked up from now on."""
    if directory is None:
        releases = [EXCERPT["releases"][name] for name in RELEASES]
    else:
        releases = [json.loads((directory / f"countries-{name}.json").read_text("utf-8")) for name in RELEASES]
    NEWEST.update({country["cca3"]: country for country in releases[-1]})
    return releases


def store(database: Database[Document], releases: list[list[Document]]) -> None:
    """All releases go into one collection. The first is older than the first stamp."""
    for version, release in enumerate(releases, start=1):
        stamp = {} if version == countries.base else {countries.version_field: version}
        database["countries"].insert_many([country | stamp for country in release])


def steps() -> str:
    """How much of each revision is declared, and what follows from it."""
    every = [operation.renders for revision in countries.revisions for operation in revision.operations]
    lines = [f"Steps:  {sum(every)} of {len(every)} are declared, the others call a function"]
    for revision in countries.revisions:
        declared = sum(operation.renders for operation in revision.operations)
        forth = "can run inside MongoDB" if revision.declared else "runs in Python"
        way = "back step by step" if revision.back_of_operations else "back by a function"
        back = way if revision.reversible else "no way back"
        title = f"version {revision.version} ({revision.name}):"
        lines.append(f"  {title:30} {declared} of {len(revision.operations):2}, {forth}, {back}")
    return "\n".join(lines)


def show(database: Database[Document], releases: list[list[Document]]) -> None:
    print(f"{steps()}\n")
    world = LazyCollection(database["countries"], Country)
    coverage = world.coverage()
    print(f"Before: {coverage}")
    for version, count in coverage.by_version.items():
        print(f"  version {version} (release {RELEASES[version - 1]}): {count} documents")

    newest = {*releases[-1][0], "_id", countries.version_field}
    arrived = (
        LazyCollection(database["countries"], countries).find().to_list()
    )  # the schema instead of the model: dicts
    exact = sum(document.keys() == newest for document in arrived)
    print(f"\nRead:   {exact} of {len(arrived)} arrived with exactly the fields of release {RELEASES[-1]}")
    print(f"        {len(world.find().to_list())} of {len(arrived)} are a valid Country")

    before = database["countries"].find_one({"cca3": "CHE", countries.version_field: None}, {"_id": False}) or {}
    after = countries.upgrade(before)
    print(f"\nSwitzerland in release {RELEASES[0]}, as it is stored, and as it is read:")
    for old, new in [("capital", "capital"), ("callingCode", "idd"), ("currency", "currencies"), ("name", "name")]:
        print(f"  {old:12} {before[old]}\n  → {new:10} {shorten(str(after[new]), 105)}")

    print(f"\nSweep:  {world.sweep()}")
    print(f"After:  {world.coverage()}")


def main(directory: Path | None = None) -> None:
    releases = load(directory)
    with embedded.server() as server, pymongo.MongoClient[Document](server.uri) as client:
        database = client[f"lazymigrate_countries_{uuid.uuid4().hex[:12]}"]
        try:
            store(database, releases)
            show(database, releases)
        finally:
            client.drop_database(database)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
