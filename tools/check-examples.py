#!/usr/bin/env python3
"""Check the rows and cases of examples/redactor and examples/triage.

What must hold: every line is JSON of the documented shape, ids and inputs are unique, there are enough rows and
cases, an output is what the recipe gives when the model answers rightly, and no case is a near-copy of a row
(Levenshtein distance over the longer length, in characters, is at least 0.3). Exit 1 with one sentence if not.

usage: tools/check-examples.py [EXAMPLES-DIR]
"""
import json
import os
import re
import sys
from collections import Counter

NEAR = 0.3
ROWS_MIN = {"redactor": 240, "triage": 240}
CASES_MIN = {"redactor": 60, "triage": 60}
NAME_CHARS_MAX = 40     # as in recipe.js
PLACEHOLDER = re.compile(r"(\[[A-Z]+\])")


class Bad(Exception):
    pass


def read_lines(path, keys):
    """The objects of a JSONL file, each with exactly these keys."""
    out = []
    with open(path, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            where = f"{path}:{n}"
            try:
                row = json.loads(line)
            except ValueError as e:
                raise Bad(f"{where} is not JSON: {e}")
            if not isinstance(row, dict) or list(row) != keys:
                raise Bad(f"{where} does not have the keys {', '.join(keys)}")
            text = row["input"].get("text") if isinstance(row["input"], dict) else None
            if not isinstance(text, str) or not text.strip() or list(row["input"]) != ["text"]:
                raise Bad(f"{where} has no input text")
            out.append((where, row))
    return out


def distance_below(a, b, limit):
    """Whether the Levenshtein distance of a and b is below limit.

    Myers' bit vectors (Hyyrö's form): one column of the matrix is two integers, so a pair costs len(b) steps.
    """
    if len(a) > len(b):
        a, b = b, a
    n, m = len(b), len(a)
    if n - m >= limit:
        return False
    ca, cb = Counter(a), Counter(b)
    if sum((cb - ca).values()) >= limit:        # characters of b that a cannot supply
        return False
    peq = {}
    for i, c in enumerate(a):
        peq[c] = peq.get(c, 0) | 1 << i
    full, last = (1 << m) - 1, 1 << (m - 1)
    pv, mv, score = full, 0, m
    for j, c in enumerate(b):
        eq = peq.get(c, 0)
        xv = eq | mv
        xh = (((eq & pv) + pv) ^ pv) | eq
        ph = mv | (full & ~(xh | pv))
        mh = pv & xh
        score += 1 if ph & last else -1 if mh & last else 0
        if score - (n - 1 - j) >= limit:         # each column left can take off at most one
            return False
        ph = (ph << 1 | 1) & full
        mh = mh << 1 & full
        pv = mh | (full & ~(xv | ph))
        mv = ph & xv
    return score < limit


def check_distance(rows, cases):
    for where, case in cases:
        a = case["input"]["text"]
        for other, row in rows:
            b = row["input"]["text"]
            if distance_below(a, b, NEAR * max(len(a), len(b))):
                raise Bad(f"{where} is a near-copy of {other}: distance below {NEAR}")


# --- redactor: the rules are read out of recipe.js, so that there is one copy of them

def redactor_rules(recipe):
    """[(compiled, replacement)] from the MONTH and RULES tables of recipe.js."""
    with open(recipe, encoding="utf-8") as f:
        src = f.read()
    strings = r'"(?:[^"\\]|\\.)*"'
    month = re.search(r"const MONTH = ([^;]*);", src)
    table = re.search(r"const RULES = \[\n(.*?)\n\];", src, re.S)
    if not month or not table:
        raise Bad(f"{recipe} has no MONTH or RULES table")
    word = "".join(json.loads(s) for s in re.findall(strings, month.group(1)))
    rules = []
    for line in table.group(1).split("\n"):
        parts = re.findall(strings + "|MONTH", line)
        text = [word if p == "MONTH" else json.loads(p) for p in parts]
        rules.append((re.compile("".join(text[:-1]), re.A | re.I), text[-1].replace("$1", r"\1")))
    return rules


def mask(text, rules):
    for rx, to in rules:
        text = rx.sub(to, text)
    return text


def hide(masked, names):
    if not names:
        return masked
    words = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    rx = re.compile(r"(?<!\w)(?:" + words + r")(?!\w)")
    parts = PLACEHOLDER.split(masked)
    return "".join(s if i % 2 else rx.sub("[NAME]", s) for i, s in enumerate(parts))


def lay(masked, pieces, k, at, names, output):
    """The names that make masked into output, or None; pieces[:k] are laid and end at `at`."""
    if k == len(pieces):
        return names if at == len(masked) and hide(masked, names) == output else None
    if masked.startswith("[NAME]" + pieces[k], at):     # it stood in the input already
        found = lay(masked, pieces, k + 1, at + 6 + len(pieces[k]), names, output)
        if found is not None:
            return found
    for end in range(at + 1, min(at + NAME_CHARS_MAX, len(masked)) + 1):
        name = masked[at:end]
        if re.search(r"[;\n\[\]]", name):
            return None
        if name.strip() != name or not masked.startswith(pieces[k], end):
            continue
        if k == len(pieces) - 1 and end + len(pieces[k]) != len(masked):
            continue
        more = names if name in names else names + [name]
        found = lay(masked, pieces, k + 1, end + len(pieces[k]), more, output)
        if found is not None:
            return found
    return None


def redactor_names(where, text, output, rules):
    masked, pieces = mask(text, rules), output.split("[NAME]")
    if not masked.startswith(pieces[0]):
        raise Bad(f"{where}: the output is not the masked input with names taken out")
    names = lay(masked, pieces, 1, len(pieces[0]), [], output)
    if names is None:
        raise Bad(f"{where}: the output is not the masked input with names taken out")
    return names


def check_redactor(folder, rows, cases):
    rules = redactor_rules(os.path.join(folder, "recipe.js"))
    counts, words = [], []
    for group, key in ((rows, "output"), (cases, "expected")):
        names = []
        for where, row in group:
            out = row[key]
            if not isinstance(out, dict) or list(out) != ["text"] or not isinstance(out["text"], str):
                raise Bad(f"{where} has no {key} text")
            names.append((where, redactor_names(where, row["input"]["text"], out["text"], rules)))
        counts.append(names)
        words.append({w.lower(): where for where, ns in names for n in ns for w in re.split(r"[\s-]+", n)
                      if len(w) > 2})
    for w in words[1]:
        if w in words[0]:
            raise Bad(f"{words[1][w]} uses the name '{w}' of {words[0][w]}")
    return "; ".join(
        f"{label}: {sum(not n for _, n in c) * 100 // len(c)} % no name, "
        f"{sum(len(n) > 1 for _, n in c) * 100 // len(c)} % several"
        for label, c in zip(("rows", "cases"), counts))


# --- triage

def check_triage(folder, rows, cases):
    recipe = os.path.join(folder, "recipe.js")
    with open(recipe, encoding="utf-8") as f:
        found = re.search(r"const QUEUES = (\[[^\]]*\]);", f.read())
    if not found:
        raise Bad(f"{recipe} has no QUEUES table")
    queues = json.loads(found.group(1))
    for group, key, least in ((rows, "output", 40), (cases, "expected", 10)):
        seen = Counter()
        for where, row in group:
            out = row[key]
            if not isinstance(out, dict) or list(out) != ["queue"] or out["queue"] not in queues:
                raise Bad(f"{where}: the {key} is not one of the queues {', '.join(queues)}")
            seen[out["queue"]] += 1
        for q in queues:
            if seen[q] < least:
                raise Bad(f"{folder} has {seen[q]} lines for {q} as {key}, {least} are needed")
    return ", ".join(queues)


def check(folder, name, extra):
    rows = read_lines(os.path.join(folder, "corrected.jsonl"), ["input", "output"])
    cases = read_lines(os.path.join(folder, "cases.jsonl"), ["id", "input", "expected"])
    for what, group, least in (("rows", rows, ROWS_MIN[name]), ("cases", cases, CASES_MIN[name])):
        if len(group) < least:
            raise Bad(f"{folder} has {len(group)} {what}, {least} are needed")
        seen = {}
        for where, row in group:
            text = " ".join(row["input"]["text"].lower().split())
            if text in seen:
                raise Bad(f"{where} has the same input as {seen[text]}")
            seen[text] = where
    ids = Counter(row["id"] for _, row in cases)
    for i, n in ids.items():
        if n > 1 or not isinstance(i, str):
            raise Bad(f"{folder}/cases.jsonl: id {i!r} is not a unique string")
    note = extra(folder, rows, cases)
    check_distance(rows, cases)
    print(f"ok {name}: {len(rows)} rows, {len(cases)} cases, no case within {NEAR} of a row ({note})")


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    base = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "examples")
    try:
        check(os.path.join(base, "redactor"), "redactor", check_redactor)
        check(os.path.join(base, "triage"), "triage", check_triage)
    except (Bad, OSError) as e:
        print(f"check-examples: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
