"""Real documents that changed their shape five times: one collection, six releases of a public data set.

mledoze/countries describes some 250 countries, and every release moved something: a name became an object, a capital a
list, a list of currency codes an object of currencies. Here six releases lie side by side, as they do in a collection
that nobody rewrote. The schema says how each release became the next and the model what the newest looks like; every
document is read at head, whatever release it came from. What is worth a look:

- A value that a document has is kept: a capital of 2014 stays the capital of 2014. What the newer shape asks for and the
  document does not say (is it a member of the UN?) is looked up in the newest release, by `cca3`.
- A country that is not there (Kosovo was `KOS` and became `UNK`) gets the values of `UNKNOWN`.
- Four of the five revisions have a way back. The first has none: what it drops cannot be restored.

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

from lazymigrate import LazyCollection, Schema, embedded
from lazymigrate.fields import ObjectId

Document = dict[str, Any]

RELEASES = ("1.4.0", "1.8.1", "2.1.0", "3.0.0", "4.1.1", "5.1.0")  # the shapes of version 1, 2, … 6
EXCERPT = json.loads(Path(__file__).with_name("countries.json").read_text("utf-8"))

# What newer releases know and an older document does not. (1.4.0 has two-letter codes, and some neighbours by name.)
NEWEST: dict[str, Document] = {}  # the newest release, by cca3: see `load`
CURRENCIES: dict[str, Document] = EXCERPT["currencies"]  # name and symbol, by code
LANGUAGES: dict[str, str] = EXCERPT["languages"]  # three-letter code, by English name
THREE_LETTERS = {"cy": "cym", "de": "deu", "es": "spa", "fr": "fra", "hr": "hrv", "it": "ita", "ja": "jpn", "nl": "nld"}
NEIGHBOURS = {"Burma": "MMR", "The Gambia": "GMB"}

UNKNOWN: Document = {  # a country that the newest release does not have: the data set's own signs for "not known"
    "name": {"native": {}},
    "cioc": "",
    "independent": None,
    "status": "",
    "unMember": None,
    "unRegionalGroup": "",
    "translations": {},
    "latlng": [],
    "landlocked": None,
    "demonyms": {"eng": {"f": "", "m": ""}, "fra": {"f": "", "m": ""}},
}


def looked_up(country: Document) -> Document:
    return NEWEST.get(country["cca3"], UNKNOWN)


def named(common: str, newest: Document) -> Document:
    """A name with its official form: from the newest release where that has the same name, else the name itself."""
    return {"common": common, "official": newest["official"] if common in newest.values() else common}


countries = Schema("countries")


@countries.revision(
    2,
    touches={"name", "nativeName", "language", "languageCodes", "languages", "translations", "relevance", "cioc"}
    | {"tld", "currency", "callingCode", "altSpellings", "borders", "landlocked"},
    reads={"cca3"},
)
def names_as_objects(country: Document) -> None:
    """1.4.0 → 1.8.1: names are objects, keyed by languages of three letters. No way back to the relevance."""
    newest = looked_up(country)
    del country["relevance"], country["languageCodes"]
    for name in ("tld", "currency", "callingCode", "altSpellings", "language"):
        country[name] = [value for value in country[name] if value]  # 1.4.0 has [""] for none
    country["borders"] = [NEIGHBOURS.get(border, border) for border in country["borders"]]
    country["languages"] = {LANGUAGES.get(name, "und"): name for name in country.pop("language")}

    native = {code: dict(name) for code, name in newest["name"]["native"].items()}
    own = country.pop("nativeName")
    if own and not any(own in known.values() for known in native.values()):
        native[next(iter(country["languages"]), "und")] = {"common": own, "official": own}
    country["name"] = {**named(country["name"], newest["name"]), "native": native}

    translations = {THREE_LETTERS.get(code, code): name for code, name in country["translations"].items()}
    known = newest["translations"]
    country["translations"] = {code: named(name, known.get(code, {})) for code, name in translations.items()}
    country["cioc"], country["landlocked"] = newest["cioc"], newest["landlocked"]


@countries.revision(
    3, touches={"capital", "independent", "status", "flag", "latlng", "translations"}, reads={"cca2", "cca3"}
)
def capitals(country: Document) -> None:
    """1.8.1 → 2.1.0: a country can have several capitals; independence, ISO status and flag are new."""
    newest = looked_up(country)
    country["capital"] = [country["capital"]]
    country["independent"], country["status"] = newest["independent"], newest["status"]
    country["flag"] = "".join(chr(ord(letter) - ord("A") + 0x1F1E6) for letter in country["cca2"])
    country["latlng"] = country["latlng"] or list(newest["latlng"])
    if "svk" in country["translations"]:  # the country; its language is slk
        country["translations"]["slk"] = country["translations"].pop("svk")


@capitals.downgrade
def one_capital(country: Document) -> None:
    """The first capital stays, and the others are lost."""
    del country["independent"], country["status"], country["flag"]
    country["capital"] = next(iter(country["capital"]), "")
    if "slk" in country["translations"]:
        country["translations"]["svk"] = country["translations"].pop("slk")


@countries.revision(4, touches={"currency", "currencies", "callingCode", "idd", "translations"})
def currencies(country: Document) -> None:
    """2.1.0 → 3.0.0: currencies have names and symbols; calling codes are split after the first digit."""
    codes, calls = country.pop("currency"), country.pop("callingCode")
    country["currencies"] = {code: dict(CURRENCIES.get(code, {"name": code, "symbol": ""})) for code in codes}
    zones = {call[0] for call in calls}
    root = zones.pop() if len(zones) == 1 else ""
    country["idd"] = {"root": root and f"+{root}", "suffixes": [call.removeprefix(root) for call in calls]}
    country["translations"].pop("common", None)  # a stray string in two documents of 2.1.0


@currencies.downgrade
def currency_codes(country: Document) -> None:
    idd = country.pop("idd")
    country["currency"] = list(country.pop("currencies"))
    calls = [idd["root"].removeprefix("+") + suffix for suffix in idd["suffixes"]]
    country["callingCode"] = [call for call in calls if call]


@countries.revision(5, touches={"demonym", "demonyms", "unMember", "currencies", "idd"}, reads={"cca3"})
def demonyms(country: Document) -> None:
    """3.0.0 → 4.1.1: demonyms by language and gender; membership in the UN is new."""
    newest, demonym = looked_up(country), country.pop("demonym")
    english = {"f": demonym, "m": demonym} if demonym else newest["demonyms"]["eng"]
    country["demonyms"] = {"eng": dict(english), "fra": dict(newest["demonyms"]["fra"])}
    country["unMember"] = newest["unMember"]
    country["currencies"] = country["currencies"] or {}  # 3.0.0 has [] for none …
    country["idd"]["suffixes"] = [suffix.rstrip("X") for suffix in country["idd"]["suffixes"]]  # … and "6XX" for "6"


@demonyms.downgrade
def one_demonym(country: Document) -> None:
    """The English demonym for a man stays, and the others are lost."""
    country["demonym"] = country.pop("demonyms")["eng"]["m"]
    del country["unMember"]


@countries.revision(6, touches={"unRegionalGroup", "capital", "idd"}, reads={"cca3"})
def regional_group(country: Document) -> None:
    """4.1.1 → 5.1.0: the UN's regional group is new; no capital is [], where 4.1.1 has [""]."""
    country["unRegionalGroup"] = looked_up(country)["unRegionalGroup"]
    country["capital"] = [capital for capital in country["capital"] if capital]
    if country["idd"] == {"root": "", "suffixes": [""]}:
        country["idd"]["suffixes"] = []


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


def show(database: Database[Document], releases: list[list[Document]]) -> None:
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
