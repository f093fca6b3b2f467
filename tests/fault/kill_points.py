#!/usr/bin/env python3
"""kill_points POINTS SEED DIR - SIGKILL at each system call of the state changes of real programs; then a recovery, killed inside too, then another.

DIR holds `store` (made by make_shout) and shout.kolm. After each kill the invariants of reliability.md section 11 hold: HEAD and head.prev as before or as
after, the rows there once, a store `kolm fsck` has nothing to say about, and a second repair that finds nothing. POINTS 0: all of them, and every point of
each recovery.
"""
import ctypes
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

POINTS, SEED, DIR = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
BUILD, MODEL = os.environ["BUILD"], os.environ.get("MODEL", "")
RNG = random.Random(SEED)
KOLM, STEPPER = BUILD + "/bin/kolm", BUILD + "/fault/stepper"
STORE, KEPT, ART = DIR + "/store", DIR + "/kept", DIR + "/shout.kolm"
SIDE = ART + ".rag.json"
ENV = dict(os.environ, KOLM_HOME=STORE)
SLUG = STORE + "/tune/shout"


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    kept = tempfile.mkdtemp(prefix="kolm-kill-points.")
    shutil.copytree(DIR, kept, symlinks=True, dirs_exist_ok=True)
    print(f"what it left is in {kept}")
    sys.exit(1)


def run(*words, check=True):
    p = subprocess.run([KOLM, *words], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if check and p.returncode != 0:
        fail(f"kolm {' '.join(words)}: {p.stdout}{p.stderr}")
    return p


def step(at, *words):
    """(exit status, calls it made)"""
    p = subprocess.run([STEPPER, str(at), KOLM, *words], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return p.returncode, int(p.stderr.split()[-1])


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return None


ZSTD = ctypes.CDLL("libzstd.so.1")
ZSTD.ZSTD_decompress.restype = ctypes.c_size_t


def audit_lines():
    """of the log and of what it was before it turned over; where a part is there packed and plain, once"""
    text = read(STORE + "/logs/tune.jsonl") or ""
    for name in sorted(n for n in os.listdir(STORE + "/logs") if n.startswith("tune.") and n != "tune.jsonl"):
        if not name.endswith(".zst"):
            text += read(STORE + "/logs/" + name)
        elif not os.path.exists(STORE + "/logs/" + name[:-4]):
            packed, out = open(STORE + "/logs/" + name, "rb").read(), ctypes.create_string_buffer(1 << 20)
            n = ZSTD.ZSTD_decompress(out, len(out), packed, len(packed))
            text += out.raw[:n].decode()
    return text.splitlines()


def state():
    config = read(SLUG + "/tune-config.json")
    revisions = sorted(os.listdir(SLUG + "/revisions")) if os.path.isdir(SLUG + "/revisions") else None
    rows = [json.loads(x)["input"] for x in (read(SLUG + "/captures.jsonl") or "").splitlines()]
    events = [json.loads(x)["event"] for x in audit_lines()]
    counted = {e: events.count(e) for e in ("promoted", "rolled_back")}
    strip = [(read(SLUG + "/" + n) or "-").strip() for n in ("HEAD", "head.prev")]
    return json.dumps([strip, json.loads(config)["captures_on"] if config else None, [r for r in revisions or [] if not r.startswith(".")] if revisions else None,
                       rows, counted, os.path.exists(SIDE), sorted(n for n in os.listdir(STORE + "/rag") if not n.startswith(".") and not n.startswith("jobs"))])


def restore():
    for _ in range(500):  # the worker of a killed step ends with it, not before it
        shutil.rmtree(STORE, ignore_errors=True)
        if not os.path.exists(STORE):
            break
        time.sleep(0.01)
    shutil.copytree(KEPT + "/store", STORE, symlinks=True)
    if os.path.exists(SIDE):
        os.unlink(SIDE)
    if os.path.exists(KEPT + "/side"):
        shutil.copy(KEPT + "/side", SIDE)


def keep():
    shutil.rmtree(KEPT, ignore_errors=True)
    os.mkdir(KEPT)
    shutil.copytree(STORE, KEPT + "/store", symlinks=True)
    if os.path.exists(SIDE):
        shutil.copy(SIDE, KEPT + "/side")


def settle(what):
    """recover, and once more; nothing may be left to say"""
    p = run("fsck", "--repair", check=False)
    if p.returncode != 0:
        fail(f"{what}: fsck --repair: {p.stdout}{p.stderr}")
    p = run("fsck", check=False)
    if p.returncode != 0 or "every invariant holds" not in p.stdout:
        fail(f"{what}: a second look found {p.stdout}{p.stderr}")


def revision(n):
    """a revision without training: v0's bytes under another number"""
    to = f"{SLUG}/revisions/v{n}"
    shutil.copytree(SLUG + "/revisions/v0", to)
    data = b"adapter of v%d" % n
    open(to + "/adapter_model.safetensors", "wb").write(data)
    files = json.load(open(to + "/files.json"))
    for f in files["files"]:
        if f["name"] == "adapter_model.safetensors":
            f["bytes"], f["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    json.dump(files, open(to + "/files.json", "w"))


WORKER = """while [ $# -gt 1 ]; do
	[ "$1" = --out-dir ] && out=$2
	shift
done
cp {dir}/v0/adapter_config.json {dir}/v0/adapter_model.safetensors "$out" || exit 1
echo '{{"ok":true,"captures_trained_on":3,"epochs":1}}'
"""


def light_v0():
    """v0's 4 MB are copied at every point: a few bytes do"""
    revision(9)
    shutil.rmtree(SLUG + "/revisions/v0")
    os.rename(SLUG + "/revisions/v9", SLUG + "/revisions/v0")


A = ("--artifact", ART)
CHANGES = [  # name, command, what to run before
    ("init", ("tune", "init", *A, "--base", MODEL), None),
    ("capture-on", ("tune", "capture-on", *A), None),
    ("capture-off", ("tune", "capture-off", *A), [("tune", "capture-on", *A)]),
    ("promote", ("tune", "promote", *A, "--rev", "v2", "--force"), None),
    ("rollback", ("tune", "rollback", *A), None),
    ("promote id", ("tune", "promote", *A, "--rev", "v2", "--force", "--id", "once"), None),
    ("rollback id", ("tune", "rollback", *A, "--id", "once"), None),
    ("promote, the log turns over", ("tune", "promote", *A, "--rev", "v2", "--force", "--id", "once"), "long"),
    ("append", ("run", ART, "one more"), [("tune", "capture-on", *A)]),
    ("confirm", ("captures", "confirm", *A, "--all"), None),
    ("drop", ("captures", "drop", *A, "--all"), None),
    ("step", ("tune", "step", *A), "worker"),
    ("index", ("rag", "index", DIR + "/docs", "--name", "docs"), None),
    ("index again", ("rag", "index", DIR + "/docs", "--name", "docs"), [("rag", "index", DIR + "/docs", "--name", "docs")]),
    ("attach", ("rag", "attach", ART, "--index", "docs"), [("rag", "index", DIR + "/docs", "--name", "docs")]),
    ("detach", ("rag", "detach", ART), [("rag", "index", DIR + "/docs", "--name", "docs"), ("rag", "attach", ART, "--index", "docs")]),
    ("log verify", ("log", "verify"), None),
    ("repair", ("fsck", "--repair"), "wreck"),
]


def wreck():
    """a promotion that died between its exchange and head.prev, a damaged config, half a revision"""
    open(SLUG + "/tune-config.json", "w").write('{"half')
    os.mkdir(SLUG + "/revisions/v7")
    open(SLUG + "/.HEAD.tmp.999999.1", "w").write("v")
    open(STORE + "/rag/.x.tmp.999999.0", "w").write("")
    os.unlink(SLUG + "/head.prev")


def prepare():
    os.mkdir(DIR + "/docs")
    for n in range(3):
        open(f"{DIR}/docs/{n}.md", "w").write(f"# page {n}\nrefunds take {n} days\n")
    restore_points = {}
    keep()
    restore_points["init"] = KEPT + ".init"
    shutil.copytree(KEPT, KEPT + ".init")
    run("tune", "init", *A, "--base", MODEL)
    shutil.copytree(SLUG + "/revisions/v0", DIR + "/v0")
    with open(DIR + "/worker.sh", "w") as f:
        f.write(WORKER.format(dir=DIR))
    light_v0()
    for n in (1, 2):
        revision(n)
    run("tune", "promote", *A, "--rev", "v1", "--force")
    row = json.dumps({"input": "a row", "output": "A ROW", "rev": "v1", "id": "ab12cd34"})
    open(SLUG + "/captures.jsonl", "w").write(row + "\n")
    keep()
    shutil.copytree(KEPT, KEPT + ".all")


def start_of(name, before):
    shutil.rmtree(KEPT, ignore_errors=True)
    shutil.copytree(KEPT + (".init" if name == "init" else ".all"), KEPT)
    restore()
    if before == "wreck":
        wreck()
    if before == "worker":  # rows a person wrote, and a trainer that is quick: it gives v0's own adapter
        with open(SLUG + "/captures.jsonl", "a") as f:
            f.writelines(json.dumps({"input": f"row {n}", "output": f"ROW {n}"}) + "\n" for n in range(3))
        config = json.load(open(STORE + "/config.json"))
        worker = {"command": f"/bin/sh {DIR}/worker.sh", "reads": [DIR + "/worker.sh", DIR + "/v0"]}
        json.dump(dict(config, workers={"shout": worker}), open(STORE + "/config.json", "w"))
    if before == "long":  # the log turns over at its next line
        for _ in range(12):
            run("tune", "capture-on", *A)
            run("tune", "capture-off", *A)
        config = json.load(open(STORE + "/config.json"))
        json.dump(dict(config, log_max_bytes=4096), open(STORE + "/config.json", "w"))
    for words in before if isinstance(before, list) else []:
        run(*words)
    keep()


def one(name, words, at, before, after):
    restore()
    rc, _ = step(at, *words)
    what = f"{name}, killed at call {at}"
    inner = 0
    if RNG.random() < 0.5 or POINTS == 0:  # the recovery dies as well
        inner = RNG.randrange(1, 260)
        step(inner, "fsck", "--repair")
        what += f", its recovery at call {inner}"
    settle(what)
    now = state()
    if now not in ([after] if rc == 0 else [before, after]):
        fail(f"{what}: exit {rc}\nbefore {before}\nafter  {after}\nnow    {now}")
    if "--id" in words:  # whoever did not hear the answer asks again: it is done once
        for _ in range(2):
            run(*words)
        if state() != after:
            fail(f"{what}, asked again under its id:\nafter {after}\nnow   {state()}")
    if hashlib.sha256(open(ART, "rb").read()).hexdigest() != ART_SHA:
        fail(f"{what}: the artifact changed")
    return inner > 0


prepare()
ART_SHA = hashlib.sha256(open(ART, "rb").read()).hexdigest()
plan, total, doubles, kills = [], 0, 0, 0
for name, words, before in CHANGES:
    start_of(name, before)
    old = None if before == "wreck" else state()
    rc, calls = step(0, *words)
    if rc != 0:
        fail(f"{name} fails without a kill: {rc}")
    settle(name)
    plan.append((name, words, before, old or state(), state(), calls))
    total += calls
for name, words, before, old, new, calls in plan:
    start_of(name, before)
    share = POINTS * calls // total + 1
    if before == "worker":  # a second each
        share = min(share, POINTS // 16 + 1)
    points = list(range(1, calls + 1)) * (share // calls) + RNG.sample(range(1, calls + 1), share % calls)
    for at in points:
        doubles += one(name, words, at, old, new)
        kills += 1
print(f"{kills} kills in {len(CHANGES)} changes of {total} calls, {doubles} of them with a kill in the recovery, seed {SEED}: nothing lost")
