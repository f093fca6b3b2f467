#!/usr/bin/env python3
"""kill_loop ROUNDS [SEED] - a server on a real mount, killed with SIGKILL at random moments of random commands; sometimes its trainer is killed instead.

After each kill a new server starts (which heals the mount and repairs the store), and the invariants of reliability.md section 11 are checked against
what was acknowledged. Environment: BUILD MODEL. Prints the seed; the same seed gives the same sequence of commands and delays.
"""
import glob
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BUILD, MODEL = os.environ["BUILD"], os.environ["MODEL"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROUNDS = int(sys.argv[1])
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 30)
RNG = random.Random(SEED)
WORK = tempfile.mkdtemp(prefix="kolm-kill.")
STORE, MNT = WORK + "/store", WORK + "/mnt"
SLUG = MNT + "/redactor"
TUNE = STORE + "/tune/redactor"
server = None


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    print(f"the store is left in {STORE}")
    stop()
    sys.exit(1)


def start():
    global server
    log = open(WORK + "/server.log", "ab")
    server = subprocess.Popen([BUILD + "/bin/kolmfs", "-f", STORE, MNT], stdout=log, stderr=log, start_new_session=True)
    end = time.time() + 20
    while time.time() < end:
        if server.poll() is not None:
            fail("the server did not start: " + open(WORK + "/server.log").read()[-600:])
        try:
            with open(MNT + "/version"):
                return
        except OSError:
            time.sleep(0.02)
    fail("the mount did not come up")


def kill():
    os.kill(server.pid, signal.SIGKILL)
    server.wait()


def stop():
    if server and server.poll() is None:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
    subprocess.run(["umount", "-l", MNT], stderr=subprocess.DEVNULL)


def write(path, text):
    """one write(2); None when it was acknowledged, else the error"""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            data = text.encode()
            return None if os.write(fd, data) == len(data) else "short"
        finally:
            os.close(fd)
    except OSError as e:
        return e


def read(path):
    with open(path) as f:
        return f.read()


def wait_idle(seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        status = dict(line.split(" ", 1) for line in read(SLUG + "/status").splitlines() if " " in line)
        if status.get("state") == "idle":
            return
        time.sleep(0.1)
    fail("a job does not end")


def heads():
    def one(name):
        try:
            return read(f"{TUNE}/{name}").strip()
        except FileNotFoundError:
            return ""
    return one("HEAD"), one("head.prev")


def log_lines():
    path = STORE + "/logs/tune.jsonl"
    data = open(path, "rb").read()
    if data and not data.endswith(b"\n"):
        fail("tune.jsonl ends in half a line after recovery")
    return data.splitlines()


def check_chain():
    prev = hashlib.sha256(b"").hexdigest()
    for n, line in enumerate(log_lines()):
        entry = json.loads(line)
        if entry["prev"] != prev and not (n == 0 and entry["prev"] in ("", None)):
            fail(f"the chain breaks at line {n + 1}")
        prev = hashlib.sha256(line).hexdigest()


def check_revision(rev):
    folder = f"{TUNE}/revisions/{rev}"
    for f in json.loads(read(folder + "/files.json"))["files"]:
        data = open(f"{folder}/{f['name']}", "rb").read()
        if len(data) != f["bytes"] or hashlib.sha256(data).hexdigest() != f["sha256"]:
            fail(f"{rev}/{f['name']} does not match its digest")


def check(acked_rows, allowed):
    head, prev = heads()
    if not re.fullmatch(r"v\d+", head):
        fail(f"HEAD is {head!r}")
    if (head, prev) not in allowed:
        fail(f"HEAD and head.prev are {(head, prev)}, allowed were {allowed}")
    for name in os.listdir(TUNE + "/revisions"):
        if name.startswith("."):
            fail(f"a temporary name was left: revisions/{name}")
        check_revision(name)
    left = [n for n in os.listdir(TUNE) if n.startswith(".") and n not in (".lock", ".job.lock")]
    if left:
        fail(f"temporary names were left: {left}")
    check_chain()
    seen = {}
    for line in open(TUNE + "/captures.jsonl", "rb"):
        try:
            row = json.loads(line)
            seen[row["input"]["text"]] = seen.get(row["input"]["text"], 0) + 1
        except (ValueError, KeyError, TypeError):
            pass
    for text in acked_rows:
        if seen.get(text) != 1:
            fail(f"an acknowledged row is there {seen.get(text, 0)} times: {text}")
    return head, prev


def names_of_workers():
    out = subprocess.run(["pgrep", "-f", f"kolm-trainer .*{STORE}/"], capture_output=True, text=True).stdout.split()
    return [int(p) for p in out]


def setup():
    os.mkdir(STORE, 0o700)
    os.mkdir(MNT)
    env = dict(os.environ, KOLM_HOME=STORE)
    art = WORK + "/redactor.kolm"
    ex = ROOT + "/examples/redactor"
    subprocess.run([BUILD + "/bin/kolm", "compile", "--spec", ex + "/spec.json", "--examples", ex + "/cases.jsonl", "--out", art, "--allow-below-gate"],
                   env=env, check=True, stdout=subprocess.DEVNULL)
    start()
    err = write(MNT + "/ctl", f"init {art} base={MODEL}\n")
    if err:
        fail(f"init: {err}")
    rows = read(ex + "/corrected.jsonl").splitlines()[:6]
    err = write(SLUG + "/captures.jsonl", "\n".join(rows) + "\n")
    if err:
        fail(f"append: {err}")
    acked = [json.loads(r)["input"]["text"] for r in rows]
    for n in (1, 2):
        err = write(SLUG + "/ctl", f"step epochs=1 from=v0 seed={n}\n")
        if err:
            fail(f"step: {err}")
        line = read(SLUG + "/wait")
        if f" ok rev=v{n} " not in line:
            fail(f"step {n}: {line}")
    return acked


def command(acked):
    """a random command: (what it does, states HEAD may have afterwards, delay before the kill)"""
    head, prev = heads()
    kind = RNG.choice(["promote", "rollback", "append", "set", "step", "promote", "rollback", "append"])
    if kind == "rollback" and not prev:
        kind = "promote"
    if kind == "promote":
        to = RNG.choice([r for r in ("v0", "v1", "v2") if r != head])
        return kind, (SLUG + "/ctl", f"promote {to} force\n"), (to, head), RNG.uniform(0, 0.03)
    if kind == "rollback":
        return kind, (SLUG + "/ctl", "rollback\n"), (prev, head), RNG.uniform(0, 0.02)
    if kind == "append":
        text = f"row {RNG.randrange(1 << 60)} of a kill test, signed Ada Byron"
        return kind, (SLUG + "/captures.jsonl", json.dumps({"input": {"text": text}, "output": {"text": text.replace("Ada Byron", "[NAME]")}}) + "\n"), text, RNG.uniform(0, 0.01)
    if kind == "set":
        return kind, (SLUG + "/ctl", f"set watch.threshold_rows {RNG.randrange(100, 900)}\n"), None, RNG.uniform(0, 0.02)
    return kind, (SLUG + "/ctl", "step epochs=1 rows=all from=v0\n"), None, RNG.uniform(0, 4)


def main():
    print(f"seed {SEED}, {ROUNDS} rounds")
    acked = setup()
    kills = 0
    for n in range(ROUNDS):
        before = heads()
        kind, (path, text), after, delay = command(acked)
        result = []
        worker = threading.Thread(target=lambda: result.append(write(path, text)))
        worker.start()
        time.sleep(delay)
        victims = names_of_workers() if kind == "step" and RNG.random() < 0.5 else []
        for pid in victims[:1]:
            os.kill(pid, signal.SIGKILL)
        if victims:
            worker.join()
            wait_idle()
        else:
            kill()
            worker.join()
            kills += 1
        done = result == [None]
        allowed = {before}
        if kind in ("promote", "rollback"):
            allowed = {after} if done else {before, after}
        if kind == "append" and done:
            acked.append(after)
        if not victims:
            start()
        head = check(acked, allowed)
        wait_idle()
        check(acked, {head})
    # a clean restart finds nothing to repair
    stop()
    lines = len(log_lines())
    start()
    recovered = [x for x in log_lines()[lines:] if b'"recovered"' in x]
    if recovered:
        fail(f"a clean restart repaired something: {recovered[0]}")
    stop()
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"{ROUNDS} rounds, {kills} kills of the server, {len(acked)} acknowledged rows, seed {SEED}: nothing lost")


main()
