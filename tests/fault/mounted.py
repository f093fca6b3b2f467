#!/usr/bin/env python3
"""mounted kill CYCLES SEED DIR | mounted soak SECONDS SEED DIR - a real mount under load: eight writers of rows, promotions and rollbacks, queries, readers of HEAD.

kill: the server gets SIGKILL at a random moment and is started again on the same mountpoint, CYCLES times; what was acknowledged is there, a repair has nothing
left to do. soak: nothing is killed, watch is on and evals run; the figures are printed: p99 of a HEAD read, growth of memory and descriptors.
"""
import json
import os
import random
import subprocess
import sys
import threading
import time

MODE, AMOUNT, SEED, DIR = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
BUILD, MODEL = os.environ["BUILD"], os.environ.get("MODEL", "")
RNG = random.Random(SEED)
STORE, MNT, ART = DIR + "/store", DIR + "/mnt", DIR + "/shout.kolm"
SLUG, TUNE = MNT + "/shout", STORE + "/tune/shout"
ENV = dict(os.environ, KOLM_HOME=STORE)
server = None
stop = threading.Event()
lock = threading.Lock()
acked, times, counts = set(), [], {}


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    end()
    sys.exit(1)


def kolm(*words):
    p = subprocess.run([BUILD + "/bin/kolm", *words], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if p.returncode != 0:
        fail(f"kolm {words}: {p.stdout}{p.stderr}")
    return p.stdout


def start():
    global server
    server = subprocess.Popen([BUILD + "/bin/kolmfs", "-f", STORE, MNT], stdout=subprocess.DEVNULL, stderr=open(DIR + "/server.log", "a"))
    until = time.time() + 20
    while time.time() < until:
        if server.poll() is not None:
            fail("the server ended: " + open(DIR + "/server.log").read()[-500:])
        try:
            open(MNT + "/version").close()
            return
        except OSError:
            time.sleep(0.01)
    fail("the mount did not come up again")


def end():
    if server and server.poll() is None:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
    subprocess.run(["umount", "-l", MNT], capture_output=True)


def write(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, text.encode()) == len(text)
    finally:
        os.close(fd)


def load(name, fn, pause):
    """call fn again and again; what fails because nobody answers is not counted"""
    n = 0
    while not stop.is_set():
        try:
            fn(n)
            with lock:
                counts[name] = counts.get(name, 0) + 1
        except OSError:
            time.sleep(0.002)
        n += 1
        time.sleep(pause)


def writer(who):
    def one(n):
        text = f"{who} {n} {RUN}"
        if write(SLUG + "/captures.jsonl", json.dumps({"input": text, "output": text.upper()}) + "\n"):
            with lock:
                acked.add(text)
    return one


def heads(n):
    write(SLUG + "/ctl", "rollback\n" if n % 2 else f"promote v{n // 2 % 3} force\n")


def query(_):
    if '"' not in open(MNT + "/rag/docs/query?q=refunds&k=3").read():
        fail("a query answered nothing")


def read_head(_):
    begun = time.perf_counter()
    text = open(SLUG + "/HEAD").read()
    times.append(time.perf_counter() - begun)
    if text not in ("v0\n", "v1\n", "v2\n"):
        fail(f"HEAD read {text!r}")


def check():
    rows = [json.loads(x)["input"] for x in open(TUNE + "/captures.jsonl")]
    if len(rows) != len(set(rows)) or not acked <= set(rows):
        fail(f"{len(acked - set(rows))} acknowledged rows are lost, {len(rows) - len(set(rows))} are twice")


def setup():
    os.mkdir(MNT)
    os.mkdir(DIR + "/docs")
    for n in range(20):
        open(f"{DIR}/docs/{n}.md", "w").write(f"# page {n}\nrefunds take {n} days\n")
    kolm("tune", "init", "--artifact", ART, "--base", MODEL)
    kolm("rag", "index", DIR + "/docs", "--name", "docs")
    for n in (1, 2):
        subprocess.run(["cp", "-r", TUNE + "/revisions/v0", f"{TUNE}/revisions/v{n}"], check=True)


def begin():
    jobs = [("row", writer(i), 0.005) for i in range(8)]
    jobs += [("head change", heads, 2 if MODE == "soak" else 0.01), ("query", query, 0.02), ("HEAD read", read_head, 0.005)]
    if MODE == "soak":
        jobs.append(("eval", lambda n: write(SLUG + "/ctl", "eval v1\n"), 10))
    threads = [threading.Thread(target=load, args=j, daemon=True) for j in jobs]
    for t in threads:
        t.start()
    return threads


def finish(threads):
    stop.set()
    for t in threads:
        t.join(20)
        if t.is_alive():
            fail("a client hangs")
    stop.clear()


def memory():
    status = dict(x.split(":", 1) for x in open(f"/proc/{server.pid}/status"))
    return int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{server.pid}/fd"))


setup()
start()
RUN = 0
if MODE == "kill":
    for RUN in range(AMOUNT):
        threads = begin()
        time.sleep(RNG.uniform(0.05, 0.5))
        server.kill()
        server.wait()
        finish(threads)
        start()
        check()
    end()
    kolm("fsck", "--repair")
    if "every invariant holds" not in kolm("fsck"):
        fail("a repair left something")
    print(f"{AMOUNT} kills of a mounted server, {counts}, seed {SEED}: mounted again each time, nothing lost")
else:
    write(SLUG + "/ctl", "set watch.threshold_rows 1000000\nwatch on\n")
    threads = begin()
    time.sleep(AMOUNT / 4)
    first = memory()
    time.sleep(AMOUNT * 3 / 4)
    last = memory()
    finish(threads)
    check()
    end()
    if "every invariant holds" not in kolm("fsck"):
        fail("the store is not sound")
    times.sort()
    if last[1] > first[1] + 16:
        fail(f"descriptors grew from {first[1]} to {last[1]}")
    for name in ("row", "head change", "query", "HEAD read", "eval"):
        if counts.get(name, 0) == 0:
            fail(f"no {name} succeeded: {counts}")
    print(f"soak {AMOUNT} s, {counts}: HEAD read p99 {times[len(times) * 99 // 100] * 1000:.1f} ms, RSS {first[0]} -> {last[0]} KiB, fds {first[1]} -> {last[1]}")
