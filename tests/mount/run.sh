#!/bin/bash
# `run`: one input through the recipes, on one open; what fails, how soon, and what is kept of it. BAD-INPUTS D, F12; FORMATS 9.6, 15.5, 19.2.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
artifact plain <<'END'
function generate(input, lib) {
	const what = input && input.do;
	if (what === "loop") while (true) {}
	if (what === "regex") return /(a+)+b/.test("a".repeat(40));
	if (what === "grow") { const all = []; for (;;) all.push(new Array(10000).fill(1.5)); }
	if (what === "recurse") { const f = () => f() + 1; return f(); }
	if (what === "throw") throw new Error("not \u001b[31mtoday");
	if (what === "function") return () => 1;
	if (what === "large") return "x".repeat(2097152);
	if (what === "fetch") { try { fetch("http://127.0.0.1"); } catch (e) {} return "right"; }
	if (what === "spoil") { Object.getPrototypeOf([]).map = () => "spoilt"; JSON.stringify = () => "spoilt"; return "done"; }
	if (what === "map") return [1, 2].map((x) => x + 1);
	if (what === "lm") return typeof lib.lm.generate;
	if (what === "nothing") return undefined;
	return input;
}
END
mood_artifact
start
tuned plain
tuned mood
has "the usage" "$(cat "$M/plain/run")" "then read the answer on the same open"
same "nothing ran" 0 "$(stat -c %s "$M/logs/runs.jsonl")"

# ---- what is JSON and what is text ----
echo "capture on" >"$M/plain/ctl"
same "an object" '{"a":[1,"é"]}' "$(ask plain '{"a" : [1, "é"]}' | jq -c .)"
same "pretty" '{
  "a": 1
}' "$(ask plain '{"a":1}')"
same "a text" 'just words' "$(ask plain 'just words')"
python3 - "$M" <<'END' || fail "a run is told to polls"
import os, select, sys
po, files = select.poll(), [os.open(os.path.join(sys.argv[1], n), os.O_RDONLY) for n in ('logs/runs.jsonl', 'plain/captures.jsonl')]
for f in files:
    os.read(f, 1 << 20)
    po.register(f, select.POLLPRI)
po.poll(1500)
for f in files:
    os.lseek(f, 0, os.SEEK_SET)
    os.read(f, 1 << 20)
assert po.poll(50) == []
run = os.open(os.path.join(sys.argv[1], 'plain/run'), os.O_RDWR)
os.write(run, b'just words')
os.read(run, 4096)
for f in files:
    one = select.poll()
    one.register(f, select.POLLPRI)
    assert one.poll(2000), f
END
same "a number is a text" '5' "$(ask plain 5)"
same "a JSON string" 'x "y"' "$(ask plain '"x \"y\""')"
same "no JSON after all" '{oops' "$(ask plain '{oops')"
same "captured" '{"a":[1,"é"]} {"a":1} "just words" "just words" "5" "x \"y\"" "{oops"' "$(jq -c .input "$M/plain/captures.jsonl" | tr '\n' ' ' | sed 's/ $//')"
same "nothing returned" undefined "$(ask plain '{"do":"nothing"}')"
same "its row has no output" "ts input recipe latency_us id crc" "$(tail -n 1 "$M/plain/captures.jsonl" | jq -r 'keys_unsorted | join(" ")')"
same "by rules alone: no rev" 0 "$(grep -c '"rev"' "$M/plain/captures.jsonl")"
same "a second question on one open" "one two" "$(exec 5<>"$M/plain/run"; printf one >&5; read -r a <&5; printf two >&5; read -r b <&5; echo "$a $b")"
same "lib.lm is there" function "$(ask plain '{"do":"lm"}')"
printf '{"sent":"without reading"}' >"$M/plain/run" || fail "write and close"
soon grep -q 'without reading' "$M/plain/captures.jsonl"

# ---- what goes wrong ----
rows=$(wc -l <"$M/plain/captures.jsonl")
python3 - "$M/plain" >"$T/out" <<'END'
import errno, os, sys, time

def ask(text):
    fd = os.open(sys.argv[1] + '/run', os.O_RDWR)
    begun = time.monotonic()
    try:
        os.write(fd, text)
        got = os.read(fd, 1 << 20).decode()
    except OSError as e:
        got = errno.errorcode[e.errno]
    took = time.monotonic() - begun
    os.close(fd)
    return got, took, open(sys.argv[1] + '/error').read().strip()

ask(b'warm')
for what, errnos, sentence, limit in [
    ('loop', 'ETIMEDOUT', 'stopped after 1000 ms', 1.6),                # D02
    ('regex', 'ETIMEDOUT', 'stopped after 1000 ms', 1.6),               # D03
    ('grow', 'ENOMEM', 'memory limit of 64 MiB', 3),                    # D05
    ('recurse', 'EOVERFLOW', 'call stack', 3),                          # D06
    ('throw', 'EBADMSG', 'recipe threw: ', 3),                          # D07
    ('function', 'EBADMSG', 'output is not JSON', 3),                   # D08
    ('large', 'EMSGSIZE', 'output larger than 1 MiB', 3),               # D09
    ('fetch', 'EPERM', 'egress attempt: fetch', 3),                     # D11
]:
    got, took, error = ask(b'{"do":"%s"}' % what.encode())
    if got not in errnos or sentence not in error or took > limit or '\x1b' in error:
        print('%s: %r in %.2f s, error %r' % (what, got[:60], took, error))
    # whatever happened: the next one is served, with nothing of it left behind
    if ask(b'{"do":"map"}')[0].split() != ['[', '2,', '3', ']']:
        print('after %s: %r' % (what, ask(b'{"do":"map"}')))
got, _, error = ask(b'x' * (1 << 20))
if len(got) not in (1 << 20, (1 << 20) + 1):                            # with its line feed, or cut by this read
    print('1 MiB is not too much: %r %r' % (got[:60], error))
got, _, error = ask(b'x' * ((1 << 20) + 1))                             # D10
if got != 'EMSGSIZE' or 'input larger than 1 MiB' not in error:
    print('more than 1 MiB: %r %r' % (got[:60], error))
ask(b'{"do":"spoil"}')                                                  # D13
if ask(b'{"do":"map"}')[0].split() != ['[', '2,', '3', ']']:
    print('spoilt: %r' % (ask(b'{"do":"map"}'),))
END
same "failures" "" "$(cat "$T/out")"
same "F12: no row of a failure" "" "$(tail -n +$((rows + 1)) "$M/plain/captures.jsonl" | jq -r '.input | objects | .do' | sort -u | grep -vx 'map\|spoil')"
same "error is ok again" ok "$(cat "$M/plain/error")"

# ---- an input that is refused half way is no input: nothing is run, and nothing captured ----
rows=$(wc -l <"$M/plain/captures.jsonl")
ran=$(wc -l <"$M/logs/runs.jsonl")
head -c 5000000 /dev/zero | tr '\0' a 2>/dev/null >"$M/plain/run" && fail "five megabytes were taken"
has "its sentence" "$(cat "$M/plain/error")" "input larger than 4194304 bytes"
same "a read says it too" EMSGSIZE "$(python3 - "$M/plain/run" <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    for _ in range(5):
        os.write(fd, b'a' * (1 << 20))
except OSError:
    pass
try:
    print(os.read(fd, 100))
except OSError as e:
    print(errno.errorcode[e.errno])
os.write(fd, b'{"do":"map"}') # and the open is good for another one
assert os.read(fd, 100).split() == [b'[', b'2,', b'3', b']']
END
)"
same "one row, of the good one" $((rows + 1)) "$(wc -l <"$M/plain/captures.jsonl")"
same "one run" $((ran + 1)) "$(wc -l <"$M/logs/runs.jsonl")"

# ---- a row that is too long is counted, and the run succeeds (F03), also when the count is damaged ----
echo "no numbers" >"$S/tune/plain/.dropped"
same "a run whose row is too long" 999991 "$(ask plain "$(head -c 999990 /dev/zero | tr '\0' a)" | wc -c)"
rm "$S/tune/plain/.dropped"

# ---- a cell that takes nothing: an input larger than its pipe does not hold the runner ----
ask plain warm >/dev/null
for pid in $(pgrep -P "$(pgrep -P "$(server_pid)" -x kolm-spawner)"); do
	case $(readlink "/proc/$pid/exe") in */kolm-cell) kill -STOP "$pid" ;; esac
done
large=$(head -c 200000 /dev/zero | tr '\0' a)
exec 5<>"$M/plain/run"
printf '%s' "$large" >&5
timeout 20 cat <&5 >/dev/null 2>&1
[ $? -ne 124 ] || fail "the runner waits for ever"
exec 5>&-
has "the sentence" "$(cat "$M/plain/error")" "recipe stopped after 1000 ms"
same "the next one is served" "$large" "$(ask plain "$large")"

# ---- the run log ----
python3 - "$M/logs/runs.jsonl" "$T/plain.kolm" <<'END' || fail "runs.jsonl"
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
for l in lines:
    assert (l['command'], l['artifact']) == ('run', sys.argv[2]), l
    want = ['ts', 'command', 'artifact'] + (['recipe_id', 'recipe_name', 'latency_us', 'k_composite', 'ok'] if l['ok'] else ['ok', 'error', 'error_code'])
    assert list(l) == want, list(l)
assert lines[0]['recipe_id'] == 'rcp_plain' and lines[0]['latency_us'] > 0, lines[0]
assert any(not l['ok'] and l['error_code'] == 'KOLM_E_RECIPE_TIMEOUT' for l in lines), 'no time-out in the log'
END

# ---- eight at once, each with its own answer ----
for i in 1 2 3 4 5 6 7 8; do
	{ [ "$(ask plain "{\"number\":$i}" | jq -c .)" = "{\"number\":$i}" ] || echo "$i"; } >>"$T/eight" &
	runs[$i]=$!
done
wait "${runs[@]}"
same "eight at once" "" "$(cat "$T/eight")"

# ---- the model answers: the row says which revision did ----
echo "capture on" >"$M/mood/ctl"
mood=$(ask mood '{"text":"Nobody came to my party."}' | jq -r .mood)
case $mood in happy | angry) ;; *) fail "the model said '$mood': $(cat "$M/mood/error")" ;; esac
same "its row" "v0 mood $mood" "$(jq -r '"\(.rev) \(.recipe) \(.output.mood)"' "$M/mood/captures.jsonl")"
same "its keys" "ts input output recipe latency_us rev id crc" "$(jq -r 'keys_unsorted | join(" ")' "$M/mood/captures.jsonl")"
echo "capture off" >"$M/mood/ctl"
ask mood '{"text":"The lights are out again."}' >"$T/out" || fail "a run with capture off"
same "capture off" 1 "$(wc -l <"$M/mood/captures.jsonl")"
same "the run itself is logged" mood "$(tail -n 1 "$M/logs/runs.jsonl" | jq -r .recipe_name)"

# ---- a slug made anew under the same name and artifact is another one: nothing kept warm for the old one serves it ----
runner() { pgrep -f -- "--store $S .*--slug mood\$"; }
old=$(runner)
ask mood '{"text":"The lights are out again."}' >"$T/out"
same "kept warm" "$old" "$(runner)"
ln "$MODEL" "$T/other.gguf" 2>/dev/null || cp "$MODEL" "$T/other.gguf"
ok bash -c 'echo "remove mood" >"$1"' - "$M/mood/ctl"
poke "$M/ctl" - "init $T/mood.kolm base=$T/other.gguf" ok
ask mood '{"text":"Nobody came to my party."}' >"$T/out" || fail "a run of the slug made anew: $(cat "$M/mood/error")"
new=$(runner)
[ -n "$old" ] && [ -n "$new" ] && [ "$old" != "$new" ] || fail "the runner of the old slug serves the new one: $old, $new"
# the base is the one that lies there now, not the one a runner opened
cp "$MODEL" "$T/own.gguf"
echo "init $T/mood.kolm base=$T/own.gguf slug=own" >"$M/ctl" || fail "a slug with a base of its own"
mood=$(ask own '{"text":"It rained on my wedding."}')
[ -n "$mood" ] || fail "no answer: $(cat "$M/own/error")"
mv "$T/own.gguf" "$T/away.gguf"
echo "no model" >"$T/own.gguf"
no ask own '{"text":"It rained on my wedding."}'
has "the base" "$(cat "$M/own/error")" "not a GGUF file"
mv "$T/away.gguf" "$T/own.gguf"
same "as before" "$mood" "$(ask own '{"text":"It rained on my wedding."}')"
touch -r "$T/own.gguf" "$T/when"
printf none | dd of="$T/own.gguf" conv=notrunc status=none
touch -r "$T/when" "$T/own.gguf"
no ask own '{"text":"It rained on my wedding."}'
echo "remove own" >"$M/own/ctl"
# the warm runner has mounts of its own: ours is not among them, so unmounting ends the server
pid=$(server_pid)
umount "$M" || fail "umount"
gone "$pid" || fail "the server outlives its mount while a runner is warm"
finish
