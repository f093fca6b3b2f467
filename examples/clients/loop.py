#!/usr/bin/env python3
"""loop.py MOUNTPOINT SLUG [ROWS.jsonl] - train on corrected rows, measure, promote if the gate lets it.

Files only: nothing to install. STEP="step epochs=1" in the environment changes how it trains.
"""
import errno
import json
import os
import sys
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit(__doc__)
slug = Path(sys.argv[1], sys.argv[2])


def command(line):
    """One line to ctl. A refusal is an OSError, and `error` beside ctl holds the sentence."""
    fd = os.open(slug / "ctl", os.O_WRONLY)
    try:
        os.write(fd, line.encode() + b"\n")
    finally:
        os.close(fd)


def job(line):
    """Start a job and read `wait`, which answers when it is over: '12 step ok rev=v1 k=- pass=- elapsed=31.4'."""
    command(line)
    end = (slug / "wait").read_text().strip()
    print(end, flush=True)
    _, _, outcome, *fields = end.split(" ")
    if outcome != "ok":
        sys.exit(1)
    return dict(f.split("=", 1) for f in fields if "=" in f)


def main():
    if len(sys.argv) > 3:
        with open(slug / "captures.jsonl", "ab", buffering=0) as captures:
            for row in open(sys.argv[3], "rb"):
                captures.write(row)

    rev = job(os.environ.get("STEP", "step"))["rev"]
    job("eval " + rev)
    measured = json.loads((slug / "revisions" / rev / "eval.json").read_text())
    print(f"measured: {measured['passed']} of {measured['total']}, K {measured['k']}")
    for case in measured["cases"]:
        if not case["pass"]:
            print("  wrong:", case["id"], case["error"] or json.dumps(case["output"]))

    try:
        command("promote " + rev)
        print("promoted", rev)
    except OSError as e:
        if e.errno != errno.ERANGE:
            raise
        print("refused by the gate:", (slug / "error").read_text().strip())
    print("HEAD is", (slug / "HEAD").read_text().strip())

    # `run` is written and then read on the same open file
    fd = os.open(slug / "run", os.O_RDWR)
    os.write(fd, json.dumps({"text": "Hello, this is Maria Lopez, order 48213. Where is my parcel?"}).encode())
    print(os.read(fd, 1 << 20).decode().strip())
    os.close(fd)


try:
    main()
except OSError as e:
    sys.exit(f"{e.strerror}: {(slug / 'error').read_text().strip() if slug.is_dir() else slug}")
