"""Made-up requests in plain English and the SQL that serves them: what teaches the decoder the form of a statement.

Tables, columns and values are drawn at random, so that the only way to be right is to copy them from the request. The
sentences are plain on purpose; how people ask for data stands in `phrases/sqlite.jsonl`. One style throughout: keywords
in capitals, single spaces, single quotes, no semicolon.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mcp_dualtune.training.augment import random_word

NOUNS = (
    "orders", "customers", "invoices", "bookings", "tickets", "members", "sensors", "recipes", "flights", "students",
    "patients", "suppliers", "payments", "lessons", "rooms", "songs", "albums", "parcels", "visits", "machines",
    "employees", "teams", "matches", "books", "loans", "wines", "plants", "trips", "claims", "devices",
)  # fmt: skip
TEXTS = (
    "name", "city", "status", "country", "email", "category", "genre", "colour", "title", "owner", "kind", "region",
    "phone", "author", "brand", "material", "language", "room", "level", "source",
)  # fmt: skip
NUMBERS = (
    "price", "age", "salary", "score", "weight", "total", "quantity", "year", "height", "duration", "stock", "rating",
    "amount", "distance", "beds", "points", "temperature", "pages", "discount", "seats",
)  # fmt: skip
DAYS = ("created_at", "due_date", "updated_at", "day", "born", "paid_at", "starts_on", "seen_at")
WORDS = (
    "open", "paid", "Graz", "Porto", "Kenya", "blue", "lost", "Nguyen", "jazz", "north", "Ahmed", "vip", "pending",
    "Björk", "Toyota", "oak", "draft", "Lima", "Sofia", "cancelled", "express", "gold", "O'Hara", "in stock",
    "Mill Street 9", "Rosa Lindgren", "green tea", "Old Town", "not yet checked", "Dr Amadi", "New Plymouth", "yes",
    "no",
)  # fmt: skip
TYPES = ("INTEGER", "TEXT", "REAL", "INTEGER NOT NULL", "TEXT NOT NULL", "TEXT UNIQUE", "DATE", "BLOB")
LEADS = (
    "", "", "", "please ", "can you ", "could you ", "I'd like you to ", "hey, ", "quick one: ", "for the report: ",
    "my boss wants to know something, so ", "in our database ", "now ", "pls ",
)  # fmt: skip
SHOW = ("show me", "list", "give me", "get", "I need", "fetch", "let me see", "pull", "find", "return", "select")
ENDS = ("", "", "", "", " please", " from the database", ", thanks", " would you", " if you can", ".", "?")
SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

Pair = tuple[str, str]
"""Words of a request, and the SQL for them."""


def reading(rng: random.Random) -> Pair:
    """A request for data, and its SELECT."""
    make: Callable[[random.Random], Pair] = rng.choice((_rows, _rows, _rows, _count, _count, _figure, _groups, _kinds))
    text, query = make(rng)
    return _said(rng, text), query


def writing(rng: random.Random) -> Pair:
    """A request to change data, and its INSERT, UPDATE or DELETE."""
    make: Callable[[random.Random], Pair] = rng.choice((_insert, _insert, _update, _update, _update, _delete, _raise))
    text, query = make(rng)
    return _said(rng, text), query


def creating(rng: random.Random) -> Pair:
    """A request for a new table, and its CREATE TABLE."""
    table = _table(rng)
    columns = rng.sample((*TEXTS, *NUMBERS, *DAYS), rng.randint(2, 5))
    definitions = [f"{name} {rng.choice(TYPES)}" for name in columns]
    if rng.random() < 0.5:
        definitions.insert(0, "id INTEGER PRIMARY KEY")
    said = rng.choice((", ".join(definitions), f"{', '.join(definitions[:-1])} and {definitions[-1]}"))
    text = rng.choice((
        f"a table {table} with {said}", f"create the table {table}: {said}", f"new table {table}, columns {said}",
        f"make a table called {table} with the columns {said}", f"set up {table} ({said})",
        f"add a table named {table} that has {said}", f"we need {said} in a new table {table}",
    ))  # fmt: skip
    return _said(rng, text), f"CREATE TABLE {table} ({', '.join(definitions)})"


def _rows(rng: random.Random) -> Pair:
    table, show = _table(rng), rng.choice(SHOW)
    columns = rng.sample((*TEXTS, *NUMBERS, *DAYS), rng.choice((0, 0, 0, 1, 2, 3)))
    asked = " and ".join(columns) if len(columns) < 3 else f"{columns[0]}, {columns[1]} and {columns[2]}"
    tests, where = _tests(rng) if rng.random() < 0.6 else ("", "")
    order, by = _order(rng) if rng.random() < 0.35 else ("", "")
    number, count = _number(rng) if rng.random() < 0.3 else ("", 0)
    query = f"SELECT {', '.join(columns) or '*'} FROM {table}{where}{by}{f' LIMIT {count}' if count else ''}"
    of = rng.choice(("of", "from", "in"))
    if columns:
        rows = rng.choice((f"{table}", f"the table {table}", f"the {table} table"))
        first = f"the first {number} rows" if count else ""
        text = f"{show} {asked} {of} {f'{first} of ' if first else ''}{rows}{tests}{order}"
    elif count:
        rows = rng.choice(("rows", "entries", "records"))
        first = rng.choice((f"the first {number} {rows} {of} {table}", f"{number} {rows} {of} {table}"))
        text = f"{show} {first}{tests}{order}"
    else:
        rows = rng.choice((
            f"everything in {table}", f"all {table}", f"the {table}", f"all rows of {table}", f"every row in {table}",
            f"the whole {table} table" if not tests else f"the rows of the table {table}", f"what is in {table}",
        ))  # fmt: skip
        text = f"{show} {rows}{tests}{order}"
    return text, query


def _count(rng: random.Random) -> Pair:
    table = _table(rng)
    tests, where = _tests(rng) if rng.random() < 0.6 else ("", "")
    text = rng.choice((
        f"how many {table} are there{tests}", f"how many rows are in {table}{tests}", f"count the {table}{tests}",
        f"the number of {table}{tests}", f"how many rows of {table} do we have{tests}",
        f"count the rows in {table}{tests}", f"how many entries has the {table} table{tests}",
    ))  # fmt: skip
    return text, f"SELECT COUNT(*) FROM {table}{where}"


def _figure(rng: random.Random) -> Pair:
    table, column = _table(rng), rng.choice(NUMBERS)
    tests, where = _tests(rng) if rng.random() < 0.4 else ("", "")
    name, words = rng.choice((
        ("AVG", ("average", "mean")), ("SUM", ("sum of the", "total")), ("MAX", ("highest", "largest", "maximum")),
        ("MIN", ("lowest", "smallest", "minimum")),
    ))  # fmt: skip
    word = rng.choice(words)
    text = rng.choice((
        f"what is the {word} {column} in {table}{tests}", f"the {word} {column} of {table}{tests}",
        f"in {table}, what's the {word} {column}{tests}", f"{word} {column} over all {table}{tests}",
    ))  # fmt: skip
    return text, f"SELECT {name}({column}) FROM {table}{where}"


def _groups(rng: random.Random) -> Pair:
    table, group = _table(rng), rng.choice(TEXTS)
    per = rng.choice((f"per {group}", f"by {group}", f"for each {group}", f"grouped by {group}"))
    if rng.random() < 0.5:
        text = rng.choice((f"how many {table} {per}", f"count {table} {per}", f"number of {table} {per}"))
        return text, f"SELECT {group}, COUNT(*) FROM {table} GROUP BY {group}"
    column = rng.choice(NUMBERS)
    name, word = rng.choice((("AVG", "average"), ("SUM", "total"), ("MAX", "highest"), ("MIN", "lowest")))
    return f"{word} {column} of {table} {per}", f"SELECT {group}, {name}({column}) FROM {table} GROUP BY {group}"


def _kinds(rng: random.Random) -> Pair:
    table, column = _table(rng), rng.choice(TEXTS)
    if rng.random() < 0.3:
        text = rng.choice((f"how many different {column} are in {table}", f"count the distinct {column} of {table}"))
        return text, f"SELECT COUNT(DISTINCT {column}) FROM {table}"
    text = rng.choice((
        f"which different {column} values are in {table}", f"the distinct {column} of {table}",
        f"every {column} in {table} once, without repeats", f"which {column}s occur in {table}",
    ))  # fmt: skip
    return text, f"SELECT DISTINCT {column} FROM {table}"


def _insert(rng: random.Random) -> Pair:
    table, columns = _table(rng), rng.sample((*TEXTS, *NUMBERS), rng.randint(1, 3))
    values = [_value(rng, column) for column in columns]
    fields = " and ".join(f"{c} {said}" for c, (said, _) in zip(columns, values, strict=True))
    text = rng.choice((
        f"put {fields} into {table}", f"add a row to {table}: {fields}", f"insert {fields} into {table}",
        f"new entry in {table} with {fields}", f"{table} gets a new row, {fields}",
        f"add {fields} to the {table} table", f"please note in {table}: {fields}", f"log {fields} under {table}",
    ))  # fmt: skip
    return text, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(sql for _, sql in values)})"


def _update(rng: random.Random) -> Pair:
    table, column = _table(rng), rng.choice((*TEXTS, *NUMBERS))
    said, value = _value(rng, column)
    tests, where = _tests(rng) if rng.random() < 0.9 else (" everywhere", "")
    text = rng.choice((
        f"set {column} to {said} in {table}{tests}", f"change {column} to {said} in {table}{tests}",
        f"in {table}{tests}, {column} must be {said}", f"update {table}: {column} = {said}{tests}",
        f"make {column} {said} in {table}{tests}",
    ))  # fmt: skip
    return text, f"UPDATE {table} SET {column} = {value}{where}"


def _raise(rng: random.Random) -> Pair:
    table, column, count = _table(rng), rng.choice(NUMBERS), rng.randint(1, 60)
    words, sign = rng.choice((
        (("raise", "increase", "put up"), "+"), (("lower", "reduce", "decrease", "bring down"), "-"),
    ))  # fmt: skip
    tests, where = _tests(rng) if rng.random() < 0.8 else (rng.choice((" everywhere", " for all rows")), "")
    text = rng.choice((
        f"{rng.choice(words)} {column} by {count} in {table}{tests}",
        f"in {table}, {rng.choice(words)} {column} by {count}{tests}",
        f"{column} of {table}{tests} goes {'up' if sign == '+' else 'down'} by {count}",
    ))  # fmt: skip
    return text, f"UPDATE {table} SET {column} = {column} {sign} {count}{where}"


def _delete(rng: random.Random) -> Pair:
    table = _table(rng)
    if rng.random() < 0.25:
        text = rng.choice((f"delete all rows of {table}", f"empty the table {table}", f"everything in {table} can go"))
        return text, f"DELETE FROM {table}"
    tests, where = _tests(rng)
    text = rng.choice((
        f"delete from {table}{tests}", f"remove the {table}{tests}", f"throw out every row of {table}{tests}",
        f"get rid of the rows in {table}{tests}",
    ))  # fmt: skip
    return text, f"DELETE FROM {table}{where}"


def _tests(rng: random.Random) -> Pair:
    """One or two conditions, with the word before them, and a WHERE clause."""
    text, sql = _test(rng)
    if rng.random() < 0.25:
        more, second = _test(rng)
        joined = rng.choice(("and", "and", "or"))
        text, sql = f"{text} {joined} {more}", f"{sql} {joined.upper()} {second}"
    return f" {rng.choice(('where', 'whose', 'with', 'where', 'for which', 'that have'))} {text}", f" WHERE {sql}"


def _test(rng: random.Random) -> Pair:
    roll = rng.random()
    if roll < 0.35:
        column = rng.choice((*TEXTS, "id", "id"))
        said, value = _value(rng, column)
        sign = rng.choice((" is ", " = ", " equals ", " "))
        return f"{column}{sign}{said}", f"{column} = {value}"
    if roll < 0.65:
        column, value = rng.choice(NUMBERS), str(rng.choice((rng.randint(1, 40), rng.randint(50, 3000), 2.5, 19.99)))
        words, sign = rng.choice((
            (("over", "above", "more than", "greater than", ">"), ">"), (("under", "below", "less than", "<"), "<"),
            (("at least", ">="), ">="), (("at most", "no more than", "<="), "<="), (("not", "other than", "!="), "!="),
        ))  # fmt: skip
        return f"{column} {rng.choice(('', 'is ', 'of '))}{rng.choice(words)} {value}", f"{column} {sign} {value}"
    if roll < 0.75:
        column, word = rng.choice(TEXTS), rng.choice(WORDS[:12])
        said, form = rng.choice((("contains", "%{}%"), ("starts with", "{}%"), ("ends in", "%{}"), ("has", "%{}%")))
        return f"{column} {said} {rng.choice((word, repr(word)))}", f"{column} LIKE '{form.format(word)}'"
    if roll < 0.85:
        column = rng.choice((*TEXTS, *DAYS))
        if rng.random() < 0.6:
            return f"{column} is {rng.choice(('empty', 'missing', 'null', 'not set'))}", f"{column} IS NULL"
        return f"{column} is {rng.choice(('filled', 'not empty', 'set', 'not null'))}", f"{column} IS NOT NULL"
    if roll < 0.93:
        column, day = rng.choice(DAYS), f"{rng.randint(2019, 2027)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        said, sign = rng.choice((("before", "<"), ("after", ">"), ("since", ">="), ("is", "="), ("=", "=")))
        return f"{column} {said} {rng.choice((day, repr(day)))}", f"{column} {sign} '{day}'"
    column, low = rng.choice(NUMBERS), rng.randint(1, 50)
    high = low + rng.randint(1, 90)
    return f"{column} between {low} and {high}", f"{column} BETWEEN {low} AND {high}"


def _order(rng: random.Random) -> Pair:
    column = rng.choice((*TEXTS, *NUMBERS, *DAYS))
    if rng.random() < 0.5:
        return rng.choice((f" sorted by {column}", f" ordered by {column}", f", by {column}")), f" ORDER BY {column}"
    said = rng.choice((f" by {column} descending", f", highest {column} first", f", largest {column} on top"))
    return said, f" ORDER BY {column} DESC"


def _number(rng: random.Random) -> tuple[str, int]:
    count = rng.choice((rng.randint(2, 12), rng.randint(2, 12), 20, 50, 100))
    return (rng.choice((SMALL[count - 2], str(count))) if count <= len(SMALL) + 1 else str(count)), count


def _value(rng: random.Random, column: str) -> Pair:
    if column in NUMBERS or column == "id":
        number = str(rng.choice((rng.randint(1, 99), rng.randint(100, 9999))))
        return number, number
    word = rng.choice(WORDS) if rng.random() < 0.6 else random_word(rng)
    literal = "'" + word.replace("'", "''") + "'"
    return (literal if rng.random() < 0.5 else word), literal


def _table(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(NOUNS)
    other = random_word(rng) if roll < 0.75 else rng.choice(TEXTS)
    return rng.choice((f"{other}_{rng.choice(NOUNS)}", f"{rng.choice(NOUNS)}_{other}", f"tbl_{other}", f"{other}s"))


def _said(rng: random.Random, text: str) -> str:
    return rng.choice(LEADS) + text + rng.choice(ENDS)


STATEMENTS = {"read_query": reading, "write_query": writing, "create_table": creating}
"""By tool of the sqlite server."""
