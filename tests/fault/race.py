#!/usr/bin/env python3
"""race ROUNDS SEED DIR - a server and two command lines change one slug at the same moment. Each change that was answered with success has its one line in the
audit log, the lines in their order lead from state to state, and HEAD and head.prev are where they end."""
import json
import os
import random
import subprocess
import sys
import threading
import time

ROUNDS, SEED, DIR = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
BUILD = os.environ["BUILD"]
RNG = random.Random(SEED)
STORE, MNT, ART = DIR + "/store", DIR + "/mnt", DIR + "/demo.kolm"
SLUG = STORE + "/tune/demo"
ENV = dict(os.environ, KOLM_HOME=STORE)


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    sys.exit(1)


def ctl(line):
    try:
        fd = os.open(MNT + "/demo/ctl", os.O_WRONLY)
        try:
            os.write(fd, line.encode())
            return True
        finally:
            os.close(fd)
    except OSError:
        return False


def cli(words):
    return subprocess.run([BUILD + "/bin/kolm", "tune", *words], env=ENV, capture_output=True).returncode == 0


def pick():
    """(as a line of ctl, as words of kolm, event)"""
    what = RNG.choice(["promote", "promote", "rollback", "capture"])
    rev = RNG.choice(["v0", "v1", "v2", "v3"])
    if what == "promote":
        return f"promote {rev} force\n", ["promote", "--artifact", ART, "--rev", rev, "--force"], "promoted"
    if what == "rollback":
        return "rollback\n", ["rollback", "--artifact", ART], "rolled_back"
    on = RNG.choice(["on", "off"])
    return f"capture {on}\n", ["capture-" + on, "--artifact", ART], "captures_" + on


def events():
    return [json.loads(x) for x in open(STORE + "/logs/tune.jsonl")]


def main():
    os.mkdir(MNT)
    os.rename(DIR + "/shout.kolm", ART)
    subprocess.run([BUILD + "/fault/storm", STORE, ART, "1", "1"], check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen([BUILD + "/bin/kolmfs", "-f", STORE, MNT], stdout=subprocess.DEVNULL, stderr=open(DIR + "/server.log", "w"))
    try:
        for _ in range(500):
            if os.path.exists(MNT + "/version"):
                break
            time.sleep(0.02)
        else:
            fail("the server did not start: " + open(DIR + "/server.log").read())
        ok = {}
        for _ in range(ROUNDS):
            picks = [pick() for _ in range(3)]
            said = [False] * 3

            def one(i):
                said[i] = ctl(picks[i][0]) if i == 0 else cli(picks[i][1])
            threads = [threading.Thread(target=one, args=(i,)) for i in range(3)]
            seen = len(events())
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            new = [e["event"] for e in events()[seen:]]
            for (_, _, event), done in zip(picks, said):
                if done:
                    ok[event] = ok.get(event, 0) + 1
                    if event not in new:
                        fail(f"{event} was answered with success and is not in the log: {picks} {said} {new}")
                    new.remove(event)
            if new:
                fail(f"the log has what nobody was told of: {new}, {picks}, {said}")
        head = prev = None
        for e in events():
            if e["event"] in ("promoted", "rolled_back"):
                if head is not None and (e["previous"] != head or (e["event"] == "rolled_back" and e["revision"] != prev)):
                    fail(f"the log goes from {head}, {prev} to {e}")
                head, prev = e["revision"], e["previous"]
        now = tuple(open(f"{SLUG}/{n}").read().strip() for n in ("HEAD", "head.prev"))
        if now != (head, prev):
            fail(f"HEAD and head.prev are {now}, the log says {(head, prev)}")
        p = subprocess.run([BUILD + "/bin/kolm", "fsck"], env=ENV, capture_output=True, text=True)
        if p.returncode != 0:
            fail(p.stdout)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        subprocess.run(["umount", "-l", MNT], capture_output=True)
    if sum(ok.values()) < ROUNDS:
        fail(f"only {ok} succeeded")
    print(f"{ROUNDS} rounds of a server and two command lines, {sum(ok.values())} changes done, seed {SEED}: one line each")


main()
