#!/bin/bash
# captures.jsonl through the mount (F01-F07, F12, F13), and which of its rows teach.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mood_artifact
start
tuned mood
F=$M/mood/captures.jsonl
C=$M/mood/ctl
row() { echo '{"input":{"text":"'"$1"'"},"output":{"mood":"'"$2"'"}}'; }
count() { same "$1" "$2" "$(wc -l <"$F") $(value mood captures)"; }

# ---- what may come in ----
row one happy >>"$F" || fail "one row"
row two angry | cat >>"$F" || fail "by cat"
count "two rows" "2 2"
for bad in '{}' '[]' 1 null '{"input":1}' '"x"' '{"output":1}'; do # F04
	poke "$F" EINVAL "$bad\\n" ""
	has "F04 $bad" "$(cat "$M/mood/error")" "capture needs input and output"
done
poke "$F" EINVAL '{"input":1,"output":\n' ""
count "nothing of that came in" "2 2"
python3 - "$F" <<'END' >"$T/out"
import errno, json, os, sys
path = sys.argv[1]

def write(*pieces, flags=os.O_WRONLY, at=None):
    fd = os.open(path, flags)
    said = []
    for p in pieces:
        try:
            n = os.write(fd, p) if at is None else os.pwrite(fd, p, at)
            said.append('ok' if n == len(p) else 'short')
        except OSError as e:
            said.append(errno.errorcode[e.errno])
    os.close(fd)
    return said

def row(n):
    return b'{"input":{"text":"row %d"},"output":{"mood":"happy"}}' % n

def expect(what, want, got):
    if want != got:
        print('%s: %s, not %s' % (what, got, want))

def lines():
    return [json.loads(l)['input'].get('text') for l in open(path)]

large = b'{"input":{"text":"%s"},"output":1}\n' % (b'x' * 1000000)
expect('F03 a line too long, in pieces', True, 'EMSGSIZE' in write(*[large[i:i + 65536] for i in range(0, len(large), 65536)]))
expect('a line in three pieces', ['ok'] * 3, write(row(1)[:9], row(1)[9:30], row(1)[30:] + b'\n'))
expect('F06 no line feed, whole', ['ok'], write(row(2)))
expect('F06 no line feed, half', ['ok'], write(row(3)[:20]))
expect('the next one is whole', ['ok'], write(row(4) + b'\n'))
expect('F07 truncating open', ['ok'], write(row(5) + b'\n', flags=os.O_WRONLY | os.O_TRUNC))
expect('F07 offsets mean nothing', ['ok'], write(row(6) + b'\n', at=3))
expect('two rows, the second bad', ['short'], write(row(7) + b'\n{}\n'))
expect('F05 a million bytes and no line feed', True, 'EMSGSIZE' in write(*[b'z' * 65536] * 17))
expect('what is there', ['row %d' % n for n in (1, 2, 4, 5, 6, 7)], lines()[2:])
for what, fn in [('rename', lambda: os.rename(path, path + '2')), ('unlink', lambda: os.unlink(path)), ('truncate', lambda: os.truncate(path, 7))]:
    try:
        fn()
        print(what, 'was done')
    except OSError as e:
        expect('F07 ' + what, 'EPERM', errno.errorcode[e.errno])
END
same "rows in pieces" "" "$(cat "$T/out")"
count "eight rows" "8 8"
has "what was dropped is counted" "$(value mood skipped)" "unfinished="
[ "$(value mood dropped_oversize)" -ge 1 ] || fail "F03: dropped_oversize is $(value mood dropped_oversize)"

# F13: many writers at once, none loses a line or glues two
for i in $(seq 16); do (for n in 1 2 3 4; do row "writer $i line $n" angry; done >>"$F") & pids[$i]=$!; done
wait "${pids[@]}"
count "64 rows of 16 writers" "72 72"
same "every line is JSON" 72 "$(jq -c .input "$F" | wc -l)"

# F01, F05: what another program or a power cut left in the file itself
stop
printf '{"input":{"text":"cut he' >>"$S/tune/mood/captures.jsonl"
start
row after happy >>"$F" || fail "F01"
same "F01 the new line stands alone" after "$(tail -n 1 "$F" | jq -r .input.text)"
same "F01 torn" 1 "$(value mood torn)"
head -c 3000 /dev/zero >>"$S/tune/mood/captures.jsonl"
echo >>"$S/tune/mood/captures.jsonl"
echo '{"input":1}' >>"$S/tune/mood/captures.jsonl"
same "F05 F04 in the file: skipped" 73 "$(value mood captures)"
has "counted" "$(value mood skipped)" "broken=2"

# ---- which rows teach ----
tuned mood slug=other
C=$M/other/ctl
F=$M/other/captures.jsonl
echo "capture on" >"$C"
for text in "It rained on my wedding." "We found a new home." "The dog ate it."; do
	said=$(ask other '{"text":"'"$text"'"}' | jq -r .mood)
	[ -n "$said" ] || fail "no answer: $(cat "$M/other/error")"
done
same "three rows of the model" "3 0" "$(value other captures) $(value other captures_teach)"
poke "$C" ENODATA step "nothing teaches yet: 3 rows the model answered itself wait for a look"
has "and status says so" "$(value other skipped)" "model=3"
jq -c '{input, output: {mood: "happy"}}' <(sed -n 1p "$F") >>"$F" || fail "a correction"
same "a correction teaches" "4 1" "$(value other captures) $(value other captures_teach)"
head -n 1 "$T/mood.cases" | jq -c '{input, output: .expected}' >>"$F"
same "a held-out case does not" 1 "$(value other captures_teach)"
has "it is counted" "$(value other skipped)" "case=1"
# the cases are those of the artifact, wherever another program put it: status goes by no change of the slug alone
cp "$T/mood.kolm" "$T/moved.kolm"
jq ".artifact_path = \"$T/moved.kolm\"" "$S/tune/other/tune-config.json" >"$T/config" && mv "$T/config" "$S/tune/other/tune-config.json"
same "the artifact's place" "$T/moved.kolm 1" "$(value other artifact) $(value other captures_teach)"
mv "$T/moved.kolm" "$T/away.kolm"
same "no artifact, no cases" 2 "$(value other captures_teach)"
mv "$T/away.kolm" "$T/moved.kolm"
same "there again" 1 "$(value other captures_teach)"
jq -c '{input, output: {mood: "angry"}}' <(sed -n 1p "$F") >>"$F"
same "the last word counts" "6 1" "$(value other captures) $(value other captures_teach)"
has "the one before does not" "$(value other skipped)" "superseded=1"
has step "$(job other "step epochs=1")" "step ok rev=v1"
same "what it learned" "angry 5" "$(jq -r '"\(.answer) \(.row)"' "$M/other/jobs/1/rows.jsonl")"
same "the prompt is what is served" "It rained on my wedding. How do I feel?" "$(jq -r .prompt "$M/other/jobs/1/rows.jsonl")"
jq -c '{input, drop: true}' <(sed -n 1p "$F") >>"$F" || fail "a drop row"
same "dropped" 0 "$(value other captures_teach)"
poke "$C" ENODATA step "2 rows the model answered itself"

# ---- F08: cut behind the server's back ----
truncate -s 10 "$S/tune/other/captures.jsonl"
within 20 grep -q '"event":"captures_replaced".*replaced or cut.*"slug":"other"' "$M/logs/tune.jsonl"
finish
