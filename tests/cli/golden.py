"""golden.py COMPAT TMP: `kolm run` and `kolm eval` against golden/built.json. Key order counts."""
import json, os, subprocess, sys

compat, tmp = sys.argv[1:3]
built = json.load(open(f"{compat}/golden/built.json"))
env = dict(os.environ, RECIPE_RECEIPT_SECRET=built["secret"])
failed = []


def kolm(*words, stdin=None):
    p = subprocess.run([os.environ["KOLM"], *words], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                       capture_output=True, env=env)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def check(what, good, *facts):
    if not good:
        failed.append(what)
        print("FAILED:", what, *[str(f)[:400] for f in facts], sep="\n  ")


def spelling(value):
    return json.dumps(value, ensure_ascii=False)


# inputs told by size
sized = {
    "1MiB-2 chars + quotes": "a" * (1048576 - 2),
    "1MiB+1": "a" * 1048577,
    "object whose JSON is 1MiB": {"text": "a" * (1048587 - 11)},
    "object whose JSON is 1MiB+1": {"text": "a" * (1048588 - 11)},
    "multibyte 1MiB": "é" * 524288,
    "multibyte 1MiB+2": "é" * 524289,
}


def artifact(name):
    return f"{compat}/artifacts/{name}.kolm"


def one_run(r, index):
    name = f"{r['artifact']} run {index}"
    given = sized[r["input_label"]] if "input_label" in r else r["input"]
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return False  # FORMATS 19.2: a bare number is text, so this input cannot be typed
    path = f"{tmp}/input"
    with open(path, "w") as f:
        f.write("" if given is None else spelling(given))
    words = ["run", artifact(r["artifact"]), "--input", path, "--json", "--force"]
    if r.get("params") is not None:
        words += ["--params", json.dumps(r["params"])]
    rc, out, err = kolm(*words)
    if "error" in r:
        code = r["error"]["code"]
        check(f"{name}: exit 4", rc == 4, rc, err)
        check(f"{name}: code {code}", code in err, err)
        return True
    check(f"{name}: exit 0", rc == 0, rc, err)
    if rc != 0:
        return True
    got = json.loads(out)
    if "output_json" in r:
        want = None if r["output_json"] is None else json.loads(r["output_json"])
        if r["output_type"] == "undefined":
            check(f"{name}: undefined", "output" not in got, out)
        else:
            check(f"{name}: output", spelling(got.get("output")) == spelling(want), spelling(got.get("output")), spelling(want))
        check(f"{name}: recipe", got["receipt"]["recipe_id"] == r["recipe_id"] and got["recipe"] == r["recipe_name"], out)
    return True


ran = sum(one_run(r, i) for i, r in enumerate(built["runs"]))
for e in built["evals"]:
    rc, out, err = kolm("eval", artifact(e["artifact"]), "--json")
    check(f"{e['artifact']} eval: exit 0", rc == 0, rc, err)
    if rc == 0:
        got = json.loads(out)
        check(f"{e['artifact']} eval", (got["n"], got["passed"], got["accuracy"]) == (e["n"], e["passed"], e["accuracy"]), out)
        check(f"{e['artifact']} eval: failing", [x["id"] for x in got["errors"]] == e["failing"], out)
for a in built["artifacts"]:
    rc, out, err = kolm("verify", artifact(a["name"]))
    check(f"{a['name']} verify", rc == 0, out, err)
refused = 0
for t in built["tampered"]:
    path = f"{compat}/artifacts/{t['file']}"
    should = t["a_sound_implementation_should"]
    rc, out, err = kolm("run", path, "abc", "--force")
    if should.startswith("reject"):
        check(f"{t['file']} is refused", rc == 4 and out == "" and "error: [kolm run]" in err, rc, out, err)
        rc, out, err = kolm("verify", path)
        check(f"{t['file']} fails verify", rc == 4 and "verdict: fail" in out, rc, out)
        refused += 1
    else:
        rc, out, err = kolm("verify", path)
        check(f"{t['file']}: warned or refused", "verdict: fail" in out or "verdict: warn" in out, out)
known = {a["name"] + ".kolm" for a in built["artifacts"]} | {t["file"] for t in built["tampered"]}
there = {f for f in os.listdir(f"{compat}/artifacts") if f.endswith(".kolm")}
check("each artifact of the folder is in the tables", there == known, there ^ known)
print(f"{ran} of {len(built['runs'])} recorded runs, {len(built['evals'])} evals, {refused} of {len(built['tampered'])} tampered refused")
sys.exit(1 if failed else 0)
