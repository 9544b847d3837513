"""Made-up technical values: ids, dates, paths, addresses, code, queries and what else machines read.

Owns their shapes; `values` owns the words of people.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable

from mcp_dualtune.training.synthesis import lexicon

HEX = "0123456789abcdef"


def pick(rng: random.Random, key: str) -> str:
    """One word of a list of names."""
    return str(rng.choice(lexicon.table("names")[key]))


def digits(rng: random.Random, count: int) -> str:
    """So many digits, the first not zero."""
    return rng.choice("123456789") + "".join(rng.choice(string.digits) for _ in range(count - 1))


def hexadecimal(rng: random.Random, count: int) -> str:
    """So many hexadecimal digits."""
    return "".join(rng.choice(HEX) for _ in range(count))


def uuid(rng: random.Random) -> str:
    """A random (version 4) UUID."""
    return "-".join(
        (
            hexadecimal(rng, 8),
            hexadecimal(rng, 4),
            "4" + hexadecimal(rng, 3),
            rng.choice("89ab") + hexadecimal(rng, 3),
            hexadecimal(rng, 12),
        )
    )


def identifier(rng: random.Random, entity: str = "") -> str:
    """An id as systems give them: a number, a hash, a prefix with digits."""
    stem = re.sub(r"[^a-z]", "", entity.lower().rpartition(" ")[2]) or pick(rng, "words")
    roll = rng.random()
    if roll < 0.22:
        return f"{stem[:3].upper()}-{digits(rng, rng.randint(2, 5))}"
    if roll < 0.4:
        return (
            f"{stem[:4]}_{''.join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(6, 10)))}"
        )
    if roll < 0.6:
        return digits(rng, rng.randint(3, 8))
    if roll < 0.72:
        return hexadecimal(rng, rng.choice((7, 8, 12, 24)))
    if roll < 0.84:
        return f"{rng.choice(string.ascii_uppercase)}{digits(rng, rng.randint(2, 5))}"
    return uuid(rng) if roll < 0.9 else f"{stem}-{rng.randint(1, 400)}"


def day(rng: random.Random, half: int = 0) -> tuple[int, int, int]:
    """(year, month, day); `half` 1 lies before every day of `half` 2."""
    if half == 1:
        return (*rng.choice(((2025, rng.randint(1, 12)), (2026, rng.randint(1, 6)))), rng.randint(1, 28))
    if half == 2:
        return (*rng.choice(((2026, rng.randint(7, 12)), (2027, rng.randint(1, 12)))), rng.randint(1, 28))
    return rng.randint(2024, 2027), rng.randint(1, 12), rng.randint(1, 28)


def iso_date(rng: random.Random, half: int = 0) -> str:
    """`2026-03-14`."""
    year, month, date = day(rng, half)
    return f"{year}-{month:02}-{date:02}"


def spoken_date(iso: str, rng: random.Random) -> str:
    """The same day as people write it."""
    year, month, date = (int(part) for part in iso[:10].split("-"))
    name = lexicon.table("names")["months"][month - 1]
    return rng.choice((f"{name} {date}, {year}", f"{date} {name} {year}", f"{date}.{month}.{year}"))


def free_date(rng: random.Random, half: int = 0) -> str:
    """A day where any form will do."""
    iso = iso_date(rng, half)
    if rng.random() < 0.5:
        return iso
    _, month, date = (int(part) for part in iso.split("-"))
    name = lexicon.table("names")["months"][month - 1]
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    if half or rng.random() < 0.5:
        return rng.choice((f"{name} {date}", f"{date} {name}", spoken_date(iso, rng)))
    return rng.choice(
        ("tomorrow", "today", f"next {rng.choice(days)}", rng.choice(days), "the day after tomorrow", "next week")
    )


def clock(rng: random.Random) -> str:
    """`17:30`."""
    return f"{rng.randint(0, 23):02}:{rng.choice((0, 0, 15, 30, 30, 45, rng.randint(0, 59))):02}"


def moment(rng: random.Random, half: int = 0) -> str:
    """`2026-03-14T17:30:00Z`."""
    return f"{iso_date(rng, half)}T{clock(rng)}:00" + rng.choice(("Z", "Z", "+02:00"))


def file_path(rng: random.Random) -> str:
    """A file, relative or in full."""
    parts = [pick(rng, "folders") for _ in range(rng.randint(0, 2))]
    stem = rng.choice(
        (
            pick(rng, "stems"),
            pick(rng, "words"),
            f"{pick(rng, 'stems')}_{rng.randint(2, 99)}",
            f"{pick(rng, 'stems')}-{pick(rng, 'words')}",
        )
    )
    root = pick(rng, "roots")
    return root + ("\\" if "\\" in root else "/").join([*parts, f"{stem}.{pick(rng, 'endings')}"])


def folder_path(rng: random.Random) -> str:
    """A folder, mostly in full."""
    root = rng.choice(("/home/ana/", "/srv/", "~/", "/Users/lee/", "./", "/data/", "/opt/", "C:\\Work\\", ""))
    parts = [rng.choice((pick(rng, "folders"), pick(rng, "words"))) for _ in range(rng.randint(1, 3))]
    return root + ("\\" if "\\" in root else "/").join(parts)


def url(rng: random.Random) -> str:
    """A web address."""
    host = rng.choice(("", "", "www.", "docs.", "api.", "blog.")) + pick(rng, "domains")
    tail = "/".join(
        rng.choice((pick(rng, "folders"), pick(rng, "stems"), pick(rng, "words"))) for _ in range(rng.randint(0, 3))
    )
    return (
        f"https://{host}"
        + (f"/{tail}" if tail else "")
        + rng.choice(("", "", "", f"?page={rng.randint(2, 9)}", ".html" if tail else ""))
    )


def phone(rng: random.Random) -> str:
    """A telephone number."""
    return rng.choice(
        (
            f"+{rng.randint(30, 49)} {digits(rng, 3)} {digits(rng, 6)}",
            f"+1{digits(rng, 10)}",
            f"0{digits(rng, 3)} {digits(rng, 5)}",
            f"+44{digits(rng, 10)}",
            f"555-{digits(rng, 4)}",
        )
    )


def branch(rng: random.Random) -> str:
    """A git branch."""
    if rng.random() < 0.25:
        return pick(rng, "branch_names")
    kind = pick(rng, "branch_kinds")
    return kind + rng.choice(
        (f"{pick(rng, 'stems')}-{pick(rng, 'words')}", pick(rng, "words"), f"{digits(rng, 3)}-{pick(rng, 'stems')}")
    )


def version(rng: random.Random) -> str:
    """A release number."""
    made = f"{rng.randint(0, 12)}.{rng.randint(0, 20)}.{rng.randint(0, 30)}"
    return rng.choice((made, f"v{made}", made, f"{made}-rc.{rng.randint(1, 4)}"))


def host(rng: random.Random) -> str:
    """A machine's name or address."""
    if rng.random() < 0.3:
        return ".".join(str(rng.randint(1, 254)) for _ in range(4))
    return rng.choice(
        (pick(rng, "domains"), f"{pick(rng, 'words')}-{rng.randint(1, 30):02}", f"db.{pick(rng, 'domains')}")
    )


def sku(rng: random.Random) -> str:
    """An article, order or reference number."""
    letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(2, 3)))
    return rng.choice(
        (
            f"{letters}-{digits(rng, 4)}",
            f"{letters}{digits(rng, 5)}",
            f"{digits(rng, 3)}-{letters}-{digits(rng, 2)}",
            f"{letters}{digits(rng, 3)}-{digits(rng, 2)}",
        )
    )


def shortened(text: str) -> str:
    """A text as the name of a table or key."""
    return re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")


def coordinate(rng: random.Random) -> str:
    """Degrees."""
    return f"{rng.uniform(-80, 80):.4f}"


TECHNICAL: dict[str, Callable[[random.Random], str]] = {
    "id": identifier,
    "uuid": uuid,
    "date": free_date,
    "early_date": lambda rng: free_date(rng, 1),
    "late_date": lambda rng: free_date(rng, 2),
    "future_date": free_date,
    "iso_date": iso_date,
    "moment": moment,
    "time": clock,
    "file_path": file_path,
    "other_path": file_path,
    "folder_path": folder_path,
    "url": url,
    "phone": phone,
    "branch": branch,
    "commit": lambda rng: hexadecimal(rng, rng.choice((7, 8, 10, 40))),
    "version": version,
    "host": host,
    "sku": sku,
    "coordinate": coordinate,
    "postcode": lambda rng: digits(rng, 5),
    "repo": lambda rng: rng.choice(("{0}-{1}", "{1}", "{1}-{0}")).format(
        rng.choice(("api", "web", "app", "docs", "core", "cli", "infra")), pick(rng, "words")
    ),
    "org": lambda rng: rng.choice(
        (
            f"{pick(rng, 'words')}-labs",
            pick(rng, "words"),
            f"{pick(rng, 'words')}hq",
            f"{pick(rng, 'first').lower()}-dev",
        )
    ),
    "cron": lambda rng: f"{rng.randint(0, 59)} {rng.randint(0, 23)} * * {rng.choice(('*', '1-5', '1', '0'))}",
    "secret": lambda rng: "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(8, 16))),
}
"""Family -> maker of one value."""
