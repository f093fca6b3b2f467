"""bad.py COMPAT TMP: the tables C and D of BAD-INPUTS. A row is (id, what, errno, words, seconds)."""
import hashlib, json, os, struct, subprocess, sys, time, zlib

compat, tmp = sys.argv[1:3]
home = f"{tmp}/store"
os.makedirs(home, mode=0o700, exist_ok=True)
env = dict(os.environ, KOLM_HOME=home)
if os.path.isdir(compat):
    env["RECIPE_RECEIPT_SECRET"] = json.load(open(f"{compat}/golden/built.json"))["secret"]
failed, rows = [], 0


def kolm(*words):
    at = time.monotonic()
    p = subprocess.run([os.environ["KOLM"], *words], stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=60)
    return p.returncode, p.stdout.decode(), p.stderr.decode(), time.monotonic() - at


def digest():
    """of the store, without the logs of refused commands"""
    h = hashlib.sha256()
    for folder, dirs, files in sorted(os.walk(home)):
        dirs.sort()
        for f in sorted(files):
            path = os.path.join(folder, f)
            if "/logs/" in path or f == "walls.json" or "/receipts/" in path:
                continue
            h.update(path.encode() + b"\0" + open(path, "rb").read())
    return h.hexdigest()


def check(row, good, *facts):
    if not good:
        failed.append(row)
        print("FAILED", row, *[str(f)[:500] for f in facts], sep="\n  ")


# ---- zips with every field under control ----

def entry(name, data=b"x", **k):
    return dict(dict(name=name, data=data, method=0, size=None, crc=None, flags=0, attr=0o100644 << 16, local={}, offset=None), **k)


def deflate(data):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return c.compress(data) + c.flush()


def pack(entries, before=b"", after=b"", count=None):
    body, directory = bytearray(before), bytearray()
    for e in entries:
        name = e["name"].encode() if isinstance(e["name"], str) else e["name"]
        size = len(e["data"]) if e["size"] is None else e["size"]
        crc = zlib.crc32(e["data"]) if e["crc"] is None else e["crc"]
        at = len(body) if e["offset"] is None else e["offset"]
        local = dict(dict(name=name, size=size, crc=crc), **e["local"])
        if e["offset"] is None:
            body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, e["flags"], e["method"], 0, 33, local["crc"], len(e["data"]), local["size"], len(local["name"]), 0)
            body += local["name"] + e["data"]
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0x032D, 20, e["flags"], e["method"], 0, 33, crc, len(e["data"]), size, len(name), 0, 0, 0, 0, e["attr"], at)
        directory += name
    n = len(entries) if count is None else count
    return bytes(body) + bytes(directory) + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n & 0xFFFF, n & 0xFFFF, len(directory), len(body), 0) + after


def doc(**k):
    """the four documents, one exchanged; the contents are looked at before the signatures"""
    empty = hashlib.sha256(b"").hexdigest()
    docs = {
        "manifest.json": json.dumps({"spec": "kolm-1", "job_id": "job_a", "task": "t", "hashes": dict.fromkeys(["model_pointer", "recipes_json", "lora_bin", "index_bin", "evals_json"], empty)}).encode(),
        "recipes.json": b'{"spec":"rs-1","n":1,"recipes":[{"id":"r","name":"n","source":"function generate(i) { return i; }"}]}',
        "evals.json": b'{"spec":"rs-1-evals","n":1,"cases":[{"id":"a","input":1,"expected":1}]}',
        "signature.sig": b'{"spec":"kolm-1"}',
    }
    docs.update({n.replace("_", "."): d for n, d in k.items()})
    return pack([entry(n, d) for n, d in docs.items() if d is not None])


good = open(f"{compat}/artifacts/b01_plain.kolm", "rb").read() if os.path.isdir(compat) else doc()
M = entry("manifest.json", b"{}")
bomb = deflate(b"\0" * (40 << 20))
C = [
    ("C01", b"", "too short"), ("C01", b"P", "too short"), ("C01", b"x" * 21, "not a .kolm file: too short"),
    ("C02", b"just a text\n" * 40, "not a zip"), ("C02", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not a zip"), ("C02", b"\x1f\x8b\x08" + b"\0" * 100, "not a zip"),
    *[("C03", good[:n], ("truncated", "end record not found")) for n in (22, 100, len(good) // 2, len(good) - 1)],
    *[("C05", pack([M, entry(n)]), "unsafe entry name") for n in ("../x", "/etc/x", "a/../../x", "C:\\x", b"a\0b")],
    ("C06", pack([M, entry("l", attr=0o120777 << 16)]), "entry is not a regular file"), ("C06", pack([M, entry("d", attr=0o020666 << 16)]), "entry is not a regular file"),
    ("C07", pack([M, entry("recipes.json"), entry("recipes.json", b"y")]), 'duplicate entry "recipes.json"'),
    ("C08", pack([M, entry("Recipes.json"), entry("recipes.JSON")]), "ambiguous entry"),
    ("C09", pack([M, entry("a", local={"name": b"b"})]), "headers disagree"), ("C09", pack([M, entry("a", local={"size": 5})]), "headers disagree"),
    ("C09", pack([M, entry("a", local={"crc": 5})]), "headers disagree"),
    ("C10", pack([M, entry("a", b"x"), entry("b", b"x", offset=0)]), "entries overlap"),
    ("C11", pack([M, *[entry(f"n{i}", bomb, method=8, size=40 << 20, crc=zlib.crc32(b"\0" * (40 << 20))) for i in range(8)]]), "expands past 256 MiB"),
    ("C11", pack([M, entry("a", bomb, method=8, size=0xFFFFFFF0)]), "expands past 256 MiB"),
    ("C12", pack([M, entry("a", deflate(b"y" * 1000), method=8, size=900, crc=zlib.crc32(b"y" * 1000))]), "size does not match"),
    ("C12", pack([M, entry("a", deflate(b"y" * 1000), method=8, size=1100, crc=zlib.crc32(b"y" * 1000))]), "size does not match"),
    ("C13", pack([entry(f"e{i}", b"") for i in range(65536)], count=0xFFFF), "more than 1024 entries"), ("C13", pack([entry(f"e{i}", b"") for i in range(1025)]), "more than 1024 entries"),
    ("C13", pack([M, entry("a", size=0xFFFFFFFF)]), "too large"),
    ("C14", pack([M, entry("a", method=99)]), "compression method 99"), ("C14", pack([M, entry("a", flags=1)]), "encrypted"),
    ("C15", pack([M, entry("a", deflate(os.urandom(500))[:300], method=8, size=500, crc=1)]), "damaged deflate data"), ("C15", pack([M, entry("a", b"\xff\xff\xff\xff", method=8, size=4)]), "damaged deflate data"),
    ("C15", pack([M, entry("a", b"\x63\x00\x42\x00\x00", method=8, size=40)]), "damaged deflate data"),
    ("C16", pack([M, entry("a", crc=7, local={"crc": 7})]), "checksum"),
    ("C17", pack([M], before=b"junk"), "extra bytes"), ("C17", pack([M], after=b"junk"), "extra bytes"),
    ("C18", doc(recipes_json=None), "recipes.json missing"), ("C18", doc(manifest_json=None), "manifest.json missing"),
    *[("C19", doc(recipes_json=t), "recipes: array expected") for t in (b"[]", b"null", b'"x"', b"{}", b'{"recipes":{}}')],
    ("C20", doc(recipes_json=b'{"recipes":[{"id":"r"}]}'), "recipe 0: source"), ("C20", doc(recipes_json=b'{"recipes":[{"id":"r","source":7}]}'), "recipe 0: source"),
    ("C21", doc(manifest_json=b'{"spec":"kolm-99","hashes":{}}'), 'spec "kolm-99"'),
    ("C23", doc(signature_sig=None), "signature"), ("C23", doc(signature_sig=b'{"spec":"kolm-1","hmac_alg":"MD5"}'), "signature"),
    ("C23", doc(signature_sig=b'{"spec":"kolm-1","hmac_alg":"HMAC-SHA256","hmac":"00"}'), "signature"),
    ("C25", doc(evals_json=b"[" * 100000), "nested deeper than 256"), ("C25", doc(manifest_json=b'{"a":' * 100000), "nested deeper than 256"),
    ("C26", doc(evals_json=b'{"a":"' + b"y" * (80 << 20) + b'"}'), "string longer than"), ("C26", doc(evals_json=b'{"a":' + b"1" * 1000000 + b"}"), "number longer than"),
    *[("C27", doc(recipes_json=t), "JSON: ") for t in (b'{"a":1,}', b'{/* */}', b"{'a':1}", b'{"a":NaN}', b"\xef\xbb\xbf{}", b"{} {}")],
    ("C28", doc(recipes_json=b'{"recipes":[],"recipes":[]}'), "duplicate key"),
]
for t, words in (("t10_receipt_from_other", "receipt is for"), ("t08_no_signature", "signature"), ("t04_sig_hmac_flipped", "signature")):
    if os.path.isdir(compat):
        C.append(("C22" if "t10" in t else "C23", open(f"{compat}/artifacts/{t}.kolm", "rb").read(), words))
kolm("verify", f"{tmp}/nothing.kolm")  # what any first command makes
open(f"{tmp}/c.kolm", "wb").write(b"")
kolm("run", f"{tmp}/c.kolm", "hi")
before = digest()
for i, (row, data, words) in enumerate(C):
    path = f"{tmp}/c.kolm"
    open(path, "wb").write(data)
    for verb in ("verify", "run"):
        rc, out, err, took = kolm(verb, path, *(["hi"] if verb == "run" else []))
        words = (words,) if isinstance(words, str) else words
        check(f"{row} ({i}) {verb}: exit 4", rc == 4, rc, err)
        check(f"{row} ({i}) {verb}: says {words}", f"error: [kolm {verb}]" in err and any(w in err for w in words), err)
        check(f"{row} ({i}) {verb}: within 2 s", took < 4, took)
        check(f"{row} ({i}) {verb}: nothing came out raw", "\x1b" not in out + err and (verb == "verify" or out == ""), out)
    rows += 1
check("C: the store did not change", digest() == before)

# ---- D: one artifact a recipe, built without its gate ----
D = [
    ("D01", "\n\nlet x = ;\nfunction generate() {}", "ENOEXEC", "line 3"), ("D01", "const other = 1;", "ENOEXEC", "generate"), ("D01", "const generate = 7;", "ENOEXEC", "generate"),
    ("D02", "function generate() { while (true) {} }", "ETIMEDOUT", "stopped after 1000 ms"), ("D03", "function generate() { return /(a+)+b/.test('a'.repeat(40)); }", "ETIMEDOUT", "stopped after 1000 ms"),
    ("D04", "function generate() { return (new Array(1e9) + '').length; }", None, ("stopped after 1000 ms", "memory limit")),
    ("D05", "function generate() { const a = []; for (;;) a.push(new Array(100000).fill(7)); }", "ENOMEM", "memory limit"), ("D05", "function generate() { return 'x'.repeat(2 ** 29); }", "ENOMEM", "memory limit"),
    ("D06", "function generate() { const f = () => f() + 1; return f(); }", "EOVERFLOW", "call stack"), ("D06", "function generate() { const o = { toString() { return '' + this; } }; return '' + o; }", "EOVERFLOW", "call stack"),
    ("D07", "function generate() { throw new Error('bad\\u001b[2J'); }", "EBADMSG", "recipe threw: bad\\x1b"), ("D07", "function generate() { throw 7; }", "EBADMSG", "recipe threw: 7"),
    ("D08", "function generate() { return () => 1; }", "EBADMSG", "output is not JSON"), ("D08", "function generate() { return 10n; }", "EBADMSG", "output is not JSON"),
    ("D08", "function generate() { const o = {}; o.o = o; return o; }", "EBADMSG", "output is not JSON"), ("D09", "function generate() { return 'x'.repeat(2 * 1024 * 1024); }", "EMSGSIZE", "output larger than 1 MiB"),
    ("D11", "function generate() { try { fetch('http://127.0.0.1'); } catch (e) {} return 1; }", "EPERM", "egress attempt: fetch"), ("D11", "function generate() { return new WebSocket('ws://x'); }", "EPERM", "egress attempt: WebSocket"),
    ("D12", "function generate() { return new Worker('x'); }", "EBADMSG", "not defined"), ("D12", "function generate() { return WebAssembly.validate; }", "EBADMSG", ("not defined", "not allowed", "find variable")),
    ("D12", "function generate() { return [].map['constr' + 'uctor']('return 1')(); }", "EBADMSG", "not allowed"),
    ("D17", "function generate() { Promise.resolve().then(() => { for (;;) {} }); return 1; }", "ETIMEDOUT", "stopped after 1000 ms"),
]


def build(source, name="d"):
    spec = {"job_id": "job_d", "task": "t", "base_model": "none", "recipes": [{"id": "r", "name": "n", "source": source}], "evals": {"cases": [{"id": "a", "input": 1, "expected": 1}]}}
    json.dump(spec, open(f"{tmp}/{name}.json", "w"))
    return kolm("compile", "--spec", f"{tmp}/{name}.json", "--out", f"{tmp}/{name}.kolm", "--allow-below-gate")


for i, (row, source, name, words) in enumerate(D):
    rc, out, err, took = build(source)
    words = (words,) if isinstance(words, str) else words
    if row == "D01":  # the build stops at what no run could get over; what other builders let pass is spawn_cell's d01
        check(f"{row} ({i}): not built", rc == 4 and any(w in err for w in words), rc, err)
        rows += 1
        continue
    if row != "D11":
        check(f"{row} ({i}): built", rc == 0, err)
    else:  # an attempt ends the build, too: build it without measuring by a case that does not get there
        check(f"{row} ({i}): not built", rc == 4 and "egress attempt" in err, err)
        build(source.replace("function generate() {", "function generate(i) { if (i === 1) return 1;"))
    rc, out, err, took = kolm("run", f"{tmp}/d.kolm", "hi", "--force")
    told = json.loads("{" + err.split("{", 1)[1].split("\n}", 1)[0] + "}")
    check(f"{row} ({i}): exit 4, nothing printed", rc == 4 and out == "", rc, out)
    check(f"{row} ({i}): says {words}", any(w in err for w in words) and "\x1b" not in err, err)
    check(f"{row} ({i}): errno {name}", name is None or told["code"].startswith("KOLM_E_") or told["code"] == name, told)
    check(f"{row} ({i}): tried", told["tried"] is None or all(t["id"] == "r" and t["stage"] == "run" for t in told["tried"]), told)
    check(f"{row} ({i}): ended in time", took < 10, took)
    log = open(f"{home}/logs/runs.jsonl").read().splitlines()[-1]
    check(f"{row} ({i}): logged", json.loads(log)["ok"] is False, log)
    rows += 1

# D10 a long input, a long source; D12 by the guard; D13-D15 what a recipe cannot do to the next case
build("function generate(i) { return 1; }")
open(f"{tmp}/long", "w").write("y" * (2 << 20))
rc, out, err, took = kolm("run", f"{tmp}/d.kolm", "--input", f"{tmp}/long", "--force")
check("D10 input", rc == 4 and "input larger than 1 MiB" in err and "KOLM_E_INPUT_TOO_LARGE" in err, rc, err)
rc, out, err, took = build("function generate() { return 1; }" + " " * 66000)
check("D10 source", rc == 4 and "source larger than 64 KiB" in err, rc, err)
for word in ("process.exit()", "require('net')", "eval('1')", "Function('1')"):
    rc, out, err, took = build(f"function generate() {{ return {word}; }}")
    check(f"D12 guard {word}", rc == 4 and "not allowed" in err, rc, err)
many = [{"id": str(i), "input": i, "expected": i} for i in range(3)]


def evaluate(source):
    build(source)
    with open(f"{tmp}/cases.jsonl", "w") as f:
        for c in many:
            f.write(json.dumps(c) + "\n")
    rc, out, err, took = kolm("eval", f"{tmp}/d.kolm", "--examples", f"{tmp}/cases.jsonl", "--json")
    check("eval: exit 0", rc == 0, rc, err)
    return json.loads(out) if rc == 0 else {"passed": -1, "errors": []}


fool = "Array['proto' + 'type'].x = 1; JSON.stringify = () => '0'; Object.freeze = (o) => o; try { lib.vote = 7; } catch (e) {}"
check("D13", evaluate("function generate(i, lib) { const was = [].x, vote = typeof lib.vote; " + fool + " return was === undefined && vote === 'function' ? i : -1; }")["passed"] == 3)
got = evaluate("function generate(i, lib) { const seen = JSON.stringify([Object.keys(lib), new Error().stack]) + Object.getOwnPropertyNames(this ?? {}).join(); return /expected|cases|evals/.test(seen) ? 'found' : i; }")
check("D14", got["passed"] == 3, got)
source = "function generate(i) { return [Math.random(), Date.now(), new Date().toString()].join(); }"
one, two = evaluate(source), evaluate(source)
check("D15", [e["got"] for e in one["errors"]] == [e["got"] for e in two["errors"]] and len({e["got"] for e in one["errors"]}) == 1, one, two)
print(f"ran: {rows} rows of C and D, and D10, D12-D15")
sys.exit(1 if failed else 0)
