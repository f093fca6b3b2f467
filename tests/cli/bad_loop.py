"""bad_loop.py TMP BASE SEED [all]: the rows of BAD-INPUTS A, B, E to H, K and one of I that the command line can be given. A row is (id, what happened before or None, words, exit status, part of the sentence).
Half of them by SEED, or all. After each the store is byte for byte what it was (but for the log's own line where the gate refuses) and, put back, answers the next command at once."""
import hashlib, json, os, random, shutil, subprocess, sys, time

tmp, tiny, seed = sys.argv[1:4]
home, work, kept = tmp + "/loop/.kolm", tmp + "/loop", tmp + "/kept"
base = work + "/base"
os.makedirs(work)
shutil.copytree(tiny, base)
os.chdir(work)
KOLM = os.environ["KOLM"]
PATIENCE = 16 if "-san/" in KOLM else 4  # of the 2 s that are promised on a machine of one's own
failed = []


def kolm(*words, **env):
    at = time.monotonic()
    env = {k: v for k, v in dict(os.environ, HOME=work, **env).items() if v is not None}
    p = subprocess.run([KOLM, *words], stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=60)
    return p.returncode, p.stdout.decode(), p.stderr.decode(), time.monotonic() - at


def must(*words):
    rc, out, err, _ = kolm(*words)
    assert rc == 0, (words, rc, err)
    return out


def check(row, good, *facts):
    if not good:
        failed.append(row)
        print("FAILED", row, *[str(f)[:500] for f in facts], sep="\n  ")


def digest(but=()):
    """of names, kinds and bytes, without the parts named; locks are for whoever holds them"""
    h = hashlib.sha256()
    for folder, dirs, files in os.walk(home):
        dirs[:] = sorted(d for d in dirs if d not in but)
        h.update(folder.encode() + b"\0")
        for name in sorted(files):
            path = os.path.join(folder, name)
            if "lock" in name or name in but:
                continue
            h.update(path.encode() + b"\0" + oct(os.lstat(path).st_mode).encode())
            if os.path.isfile(path) and not os.path.islink(path):
                h.update(open(path, "rb").read())
    return h.hexdigest()


def compile(name, source, cases):
    spec = {"job_id": "job_" + name, "task": "t", "base_model": "none", "recipes": [{"id": "r", "name": "n", "source": source}], "evals": {"cases": cases}}
    json.dump(spec, open(name + ".json", "w"))
    return kolm("compile", "--spec", name + ".json", "--out", name + ".kolm", "--allow-below-gate")


ab = [{"id": "c1", "input": "x", "expected": "a"}, {"id": "c2", "input": "y", "expected": "b"}]
compile("two", "function generate(i, lib) { return lib.lm ? lib.lm.choose(String(i), ['a', 'b']) : 'a'; }", ab)
compile("other", "function generate(i, lib) { return 'b'; }", ab)
os.mkdir("sub")
shutil.copy("other.kolm", "sub/two.kolm")
must("tune", "init", "-a", "two.kolm", "--base", base, "--rank", "4")
with open(home + "/tune/two/captures.jsonl", "w") as f:
    f.write('{"input":"q","output":"a"}\n{"input":"z","output":"b"}\n')
must("tune", "step", "-a", "two.kolm", "--epochs", "1")
must("tune", "eval", "-a", "two.kolm", "--rev", "v1")
must("tune", "promote", "-a", "two.kolm", "--rev", "v1", "--force")
must("tune", "rollback", "-a", "two.kolm")
must("tune", "promote", "-a", "two.kolm", "--rev", "v1", "--force")  # HEAD v1, head.prev v0
with open(home + "/tune/two/captures.jsonl", "a") as f:
    f.write('{"input":"w","output":"a"}\n')
must("tune", "step", "-a", "two.kolm", "--epochs", "1")  # v2, without an eval
must("tune", "init", "-a", "other.kolm", "--base", base, "--rank", "4")
os.mkdir("folder.kolm")
os.mkfifo("fifo.kolm")
os.symlink(work + "/two.kolm", "link.kolm")
os.symlink(work + "/self.kolm", "self.kolm")
os.mkdir("empty")
T = home + "/tune/two/"
CONFIG = T + "tune-config.json"
LOG = home + "/logs/tune.jsonl"


def put(name, text):
    return lambda: open(T + name, "wb").write(text)


def gone(*names):
    return lambda: [os.unlink(T + n) for n in names if os.path.lexists(T + n)]


def instead(name, make):
    def damage():
        os.unlink(T + name)
        make(T + name)
    return damage


def edit(path, **changes):
    """members of a JSON file, `a__b` is b of a"""
    def damage():
        doc = json.load(open(path))
        for key, value in changes.items():
            at, *rest = key.split("__")
            o = doc
            for n in rest:
                o, at = o[at], n
            o[at] = value
        json.dump(doc, open(path, "w"))
    return damage


def config(**changes):
    def damage():
        edit(CONFIG, **changes)()
        gone("tune-config.json.prev")()
    return damage


def both(*fns):
    return lambda: [f() for f in fns]


def flip(rev):
    def damage():
        with open(T + f"revisions/{rev}/adapter_model.safetensors", "r+b") as f:
            f.seek(-3, 2)
            c = f.read(1)
            f.seek(-3, 2)
            f.write(bytes([c[0] ^ 1]))
    return damage


def swap_lines():
    lines = open(LOG).read().splitlines(True)
    lines[1], lines[2] = lines[2], lines[1]
    open(LOG, "w").write("".join(lines))


def lose_line():
    lines = open(LOG).read().splitlines(True)
    open(LOG, "w").write("".join(lines[:2] + lines[3:]))


def change_line():
    text = open(LOG).read()
    open(LOG, "w").write(text.replace('"v0"', '"v7"', 1))


def other_base():
    with open(base + "/model.safetensors", "r+b") as f:
        f.seek(-8, 2)
        f.write(b"\0\0\0\x3f" * 2)


def tune(verb, *more):
    return ("tune", verb, "-a", "two.kolm", *more)


init = lambda *more, artifact="other.kolm": ("tune", "init", "-a", artifact, "--slug", "new", "--base", base, *more)
promote = lambda rev, *more: tune("promote", "--rev", rev, *more)
score = json.load(open(T + "revisions/v1/eval.json"))["k"]
v1_eval = T + "revisions/v1/eval.json"
to_v0 = lambda: must("tune", "rollback", "-a", "two.kolm")  # HEAD v0, so that v1 may be asked for


def gate(k):
    return both(to_v0, edit(CONFIG, gate__k_min=k), edit(v1_eval, settings__gate_k_min=k, k_score__gate=k))


ROWS = [
    ("A03", None, ("tune", "frobnicate"), 1, 'unknown command "tune frobnicate"'),
    ("A04", None, tune("promote"), 1, "promote: needs a revision"),
    ("A05", None, promote("v1") + ("one", "two"), 1, "too many"),
    ("A06", None, tune("step", "--epoch", "1"), 1, 'unknown flag "--epoch"; did you mean --epochs'),
    ("A07", None, tune("step", "--epochs", "1", "--epochs", "2"), 1, "--epochs given twice"),
    ("A11", None, promote(b"v\xff"), 1, "bad revision"),
    ("A12", None, promote("v\x1b[2J\r\x07"), 1, "\\x1b[2J"),
    ("A20", None, promote("v1; rm -rf /"), 1, 'bad revision "v1;'),
    ("A20", None, promote("$(id)"), 1, 'bad revision "$(id)"'),
    ("A20", None, tune("eval", "--rev", "`id`"), 1, 'bad revision "`id`"'),
    *[("A21", None, tune("step", "--epochs", n), 1, "epochs: whole number expected") for n in ("1e1", "0x10", "+1", " 1", "1.0", "\u0967")],
    *[("A22", None, tune("step", "--epochs", n), 1, "epochs: 1 to 1000") for n in ("0", "1001", "99999999999999999999")],
    *[("A23", None, tune("step", "--lr", n), 1, "lr: finite number expected") for n in ("nan", "inf")],
    *[("A24", None, tune("step", "--lr", n), 1, "lr: above 0 and below 1") for n in ("0", "2", "1e-400")],
    *[("A25", None, init("--rank", n), 1, "rank: 1 to 512") for n in ("0", "4097")],
    ("A25", None, init("--alpha", "0"), 1, "alpha:"),
    *[("B01", None, ("tune", "status", "--slug", n), 1, "bad name") for n in ("../../etc", "..", ".", "a/b", "")],
    *[("B02", None, ("tune", "status", "--slug", "a" * n), 1, "name longer than 64") for n in (65, 4096)],
    *[("B03", None, ("tune", "status", "--slug", n), 1, "bad name") for n in ("a b", "a:b", "a\\b", "%2e%2e")],
    *[("B04", None, ("tune", "status", "--slug", n), 1, "bad name") for n in ("caf\u00e9", "cafe\u0301")],
    ("B05", None, ("tune", "eval", "-a", "nosuch.kolm"), 5, "no such artifact"),
    ("B05", None, ("verify", "nosuch.kolm"), 5, "no such artifact"),
    *[("B06", None, init(artifact=n), 4, "not a regular file") for n in ("folder.kolm", "fifo.kolm", "/dev/null")],
    *[("B06", None, ("verify", n), 4, "not a regular file") for n in ("folder.kolm", "fifo.kolm", "/dev/null")],
    *[("B07", None, init(artifact=n), 4, "symbolic link") for n in ("link.kolm", "self.kolm")],
    ("B10", lambda: os.rename("two.kolm", "gone"), tune("eval"), 5, "artifact is gone: "),
    ("B11", lambda: shutil.copy("other.kolm", "two.kolm"), tune("eval"), 4, "artifact changed since init"),
    ("B12", None, ("tune", "init", "-a", "sub/two.kolm", "--base", base), 4, "slug already belongs to"),
    *[("B13", None, ("tune", "init", "-a", "other.kolm", "--slug", "new", "--base", n), 4, "airgap: base must be a local path") for n in ("http://x/y", "hf://org/model", "org/model", "file:///x")],
    ("B14", None, ("tune", "init", "-a", "other.kolm", "--slug", "new", "--base", "./none.gguf"), 3, "base model not found"),
    ("B15", None, ("tune", "init", "-a", "other.kolm", "--slug", "new", "--base", "./empty"), 4, "no config.json"),
    ("B16", lambda: os.chmod(home, 0o770), tune("status"), 4, "store must belong to"),
    ("E04", None, tune("eval", "--rev", "v9"), 5, "no revision v9 (have v0..v2)"),
    ("E04", None, promote("v9"), 5, "no revision v9"),
    ("E05", None, promote("v2"), 2, "K_GATE: v2 has no eval"),
    ("E06", both(to_v0, edit(CONFIG, gate__k_min=0.5)), promote("v1"), 1, "eval is out of date: the gate settings changed"),
    ("E06", both(to_v0, edit(v1_eval, adapter_sha256="0" * 64)), promote("v1"), 1, "eval is out of date: "),
    ("E06", both(to_v0, edit(v1_eval, artifact__sha256="0" * 64)), promote("v1"), 1, "eval is out of date: "),
    ("E07", gate(round(score + 0.0001, 4)), promote("v1"), 2, "K_GATE: %.4f < %.4f" % (score, score + 0.0001)),
    ("E08", both(gate(0.1), edit(v1_eval, compared__accuracy=1.0, compared__k=0.99)), promote("v1"), 2, "of HEAD v0"),
    *[("E09", config(gate__k_min=n), promote("v2"), 4, "gate: number from 0 to 1") for n in (1.1, -1, "0.85", None)],
    ("E10", None, promote("v1"), 1, "HEAD is v1 already"),
    ("E11", gone("head.prev"), tune("rollback"), 4, "no prior head to roll back to"),
    ("E12", lambda: shutil.rmtree(T + "revisions/v0"), tune("rollback"), 4, "v0 is damaged"),
    ("E12", flip("v0"), tune("rollback"), 4, "HEAD stays v1"),
    ("F09", put("captures.jsonl", b""), tune("step"), 4, "no captures yet"),
    ("F10", put("captures.jsonl", b"{}\n[]\nx\n"), tune("step"), 4, "no usable captures (3 skipped)"),
    ("F11", None, ("tune", "capture-on", "-a", "two.kolm", "--slug", "new"), 4, "not initialised"),
    ("G01", both(put("tune-config.json", b""), gone("tune-config.json.prev")), tune("capture-on"), 4, "tune-config.json is damaged"),
    ("G01", put("tune-config.json", b'{"rank": 8, "alp'), tune("capture-on"), 4, "last good copy from "),
    ("G01", put("tune-config.json", b"hello"), tune("eval"), 4, "tune-config.json is damaged"),
    ("G02", config(rank="8"), tune("eval"), 4, "rank: whole number expected"),
    ("G02", config(captures_on="yes"), tune("capture-on"), 4, "captures_on:"),
    ("G02", config(watch=[]), tune("capture-on"), 4, "watch:"),
    *[("G03", config(watch__threshold_rows=n), tune("capture-on"), 4, "threshold_rows: 1 to 1000000") for n in (0, -1, 10**12)],
    ("G03", config(dropout=1.5), tune("step"), 4, "dropout:"),
    ("G06", config(target_modules=["q_prj"]), tune("step"), 4, 'target_modules: "q_prj" not in base (have q_proj', True),
    ("G06", config(target_modules=[]), tune("step"), 4, "target_modules:"),
    ("G06", config(target_modules=["q_proj", "q_proj"]), tune("step"), 4, "target_modules:"),
    ("G07", edit(CONFIG, base_model="another/base"), tune("step", "--from", "v0"), 4, "base differs from v0", True),
    ("I13", other_base, tune("step", "--from", "v1"), 4, "base digest differs from v1's", True),
    *[("H01", put("HEAD", t), tune("eval"), 4, "HEAD is damaged") for t in (b"", b"v", b"vv1", b"v1\nv2", b"latest", b"v" * 10000000)],
    ("H01", put("HEAD", b"v\x1b[2J"), tune("rollback"), 4, "\\x1b[2J"),
    ("H02", put("HEAD", b"v7\n"), tune("rollback"), 4, "HEAD names v7, which is missing"),
    ("H03", instead("HEAD", lambda p: os.symlink("/etc/passwd", p)), tune("eval"), 4, "HEAD is not a regular file"),
    ("H03", instead("HEAD", os.mkdir), promote("v1"), 4, "HEAD is not a regular file"),
    ("H03", instead("HEAD", os.mkfifo), promote("v1"), 4, "HEAD is not a regular file"),
    ("H04", gone("HEAD"), tune("rollback"), 4, "HEAD is missing; last promotion in the log is v1"),
    ("H06", lambda: os.mkdir(T + "revisions/v3"), promote("v3", "--force"), 5, "v3 is incomplete"),
    ("H06", gone("revisions/v2/files.json"), promote("v2", "--force"), 5, "v2 is incomplete"),
    ("H06", lambda: os.mkdir(T + "revisions/v3"), tune("eval", "--rev", "v3"), 5, "v3 is incomplete"),
    ("H07", flip("v2"), promote("v2", "--force"), 4, "v2/adapter_model.safetensors does not match its digest"),
    ("H07", flip("v2"), tune("eval", "--rev", "v2"), 4, "v2/adapter_model.safetensors does not match its digest"),
    ("K12", lambda: open(home + "/format", "w").write("9\n"), tune("status"), 4, "store format 9, this program knows 1 to"),
    ("K15", lambda: os.truncate(LOG, 100), tune("capture-on"), 4, "audit log was cut: last known line "),
    ("K15", lambda: os.unlink(LOG), tune("rollback"), 4, "audit log was cut: last known line "),
    ("K15", both(lambda: os.unlink(LOG), lambda: os.mkdir(LOG)), promote("v2", "--force"), 4, "audit log was cut: "),
    ("K16", lambda: os.truncate(LOG, 100), ("log", "verify"), 4, "chain breaks at line 2: lines are missing at the end"),
    ("K16", change_line, ("log", "verify"), 4, "chain breaks at line"),
    ("K16", lose_line, ("log", "verify"), 4, "chain breaks at line 3"),
    ("K16", swap_lines, ("log", "verify"), 4, "chain breaks at line 2"),
]


def shell(script, *words):
    """the words, run by a shell that has done something to itself before"""
    return ["bash", "-c", script + '; exec "$@"', "-", KOLM, *words]


READ_ONLY = "mount --bind $HOME/.kolm $HOME/.kolm && mount -o remount,bind,ro $HOME/.kolm"
# id, command, environment, exit status, part of the sentence
SURROUNDINGS = [
    *[("K02", shell("ulimit -f 0", *w), {}, 4, "no space left; nothing was changed (file size limit)") for w in (tune("capture-on"), tune("rollback"))],
    *[("K03", ["unshare", "-rm", *shell(READ_ONLY, *w)], {}, 4, "store is read-only") for w in (tune("capture-on"), tune("rollback"), promote("v2", "--force"))],
    ("K03", ["unshare", "-rm", *shell(READ_ONLY, *tune("status"))], {}, 0, ""),
    ("K07", shell("ulimit -n 4", *tune("capture-on")), {}, 4, "Too many open files"),
    *[("K13", [KOLM, *tune("status")], {"HOME": n}, 3, "set HOME or give --store") for n in (None, "", "some/where")],
    ("K13", [KOLM, *tune("status")], {"HOME": work + "/none"}, 5, "set HOME or give --store"),
    ("K13", [KOLM, *tune("status")], {"HOME": work + "/two.kolm"}, 4, "set HOME or give --store"),
    ("K14", shell("exec >/dev/full", *tune("status")), {}, 4, "cannot write to standard output"),
    ("K14", shell("exec >&-", *tune("status")), {}, 4, "cannot write to standard output"),
]


def around(row, command, env, code, part):
    before = digest()
    env = {k: v for k, v in dict(os.environ, **{"HOME": work, **env}).items() if v is not None}
    p = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=60)
    err = p.stderr.decode()
    check(f"{row} {env.get('HOME')!r} {command[2][:30]!r} {command[-3:]}: exit {code}", p.returncode == code, p.returncode, err)
    check(f"{row} {command[-3:]}: says {part}", part in err and (code == 0 or err.startswith("error: [kolm")), err)
    check(f"{row} {command[-3:]}: the store did not change", digest() == before)


def one(row, damage, words, code, part, job=False):
    if damage:
        shutil.copytree(work, kept, symlinks=True, ignore=shutil.ignore_patterns("fifo.kolm"))
        damage()
    but = ("logs", "jobs", "jobs.jsonl") if job else ("logs",) if code == 2 else ()
    before = digest(but)
    rc, out, err, took = kolm(*words)
    name = b" ".join(w if isinstance(w, bytes) else w.encode() for w in words)[:80].decode("utf-8", "replace")
    check(f"{row} {name!r}: exit {code}", rc == code, rc, err)
    check(f"{row} {name!r}: says {part}", err.startswith("error: [kolm") and part in err and err.count("\n") == 1, err)
    check(f"{row} {name!r}: nothing raw, nothing printed", (out == "" or words[0] == "verify") and not any(c in err for c in "\x1b\r\x07"), out, err)
    check(f"{row} {name!r}: within 2 s", took < PATIENCE, took)
    check(f"{row} {name!r}: the store did not change", digest(but) == before)
    if damage:
        for n in os.listdir(work):
            if n != "fifo.kolm":
                (shutil.rmtree if os.path.isdir(n) and not os.path.islink(n) else os.unlink)(n)
        shutil.copytree(kept, work, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(kept)


if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode:
    SURROUNDINGS = [r for r in SURROUNDINGS if r[1][0] != "unshare"]
    print("ran: K03 not by the command line: no namespaces here")
table = [(one, r) for r in ROWS] + [(around, r) for r in SURROUNDINGS]
rows = table if "all" in sys.argv[4:] else [table[i] for i in sorted(random.Random(int(seed)).sample(range(len(table)), len(table) // 2))]
for how, r in rows:
    how(*r)
rc, out, err, took = kolm("tune", "status", "-a", "two.kolm")
check("afterwards: all is well", rc == 0 and '"head": "v1"' in out, rc, out, err)
print(f"ran: {len(rows)} of {len(table)} rows of the loop, {len({r[0] for _, r in rows})} ids, seed {seed}")
sys.exit(1 if failed else 0)
