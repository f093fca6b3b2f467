#!/bin/bash
# captures.jsonl: every write appends whole lines, whatever program it comes from (BAD-INPUTS F03-F07, F13).
. "$(dirname "$0")/lib.sh"
slug one
start
F=$M/one/captures.jsonl
R=$S/tune/one/captures.jsonl
lines() { wc -l <"$R"; }
status() { awk -v k="$1" '$1 == k { print $2 }' "$M/one/status"; }

echo '{"input":1,"output":1}' >>"$F" || fail "append"
echo '{"input":2,"output":2}' >"$F" || fail "> appends too"
same "O_TRUNC means nothing" 2 "$(lines)"
{ echo '{"input":3,"output":3}'; echo '{"input":4,"output":4}'; } >>"$F" || fail "two writes"
printf '{"input":5,"output":5}\n\n{"input":6,"output":6}\r\n' | dd of="$F" bs=64k conv=notrunc seek=3 status=none || fail "dd at an offset"
same "six rows" 6 "$(lines)"
same "rows in status" 6 "$(status captures)"
ok cmp "$F" "$R"

# F04: a bad line is refused, those before it stay
for bad in '{}' '[]' 1 null '{"input":1}' '{"output":1}' '{"input":1,"output":}' 'x' '{"input":1,"output":1} x'; do
	no bash -c 'echo "$1" >>"$2"' - "$bad" "$F"
done
has "F04 sentence" "$(bash -c 'echo "{\"input\":1}" >>"$1"' - "$F" 2>/dev/null; cat "$M/one/error")" "capture needs input and output"
python3 - "$F" >"$T/out" <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
data = b'{"input":7,"output":7}\n{"input":8}\n{"input":9,"output":9}\n'
n = os.write(fd, data)
print(n)
try: os.write(fd, data[n:]); print('taken')
except OSError as e: print(errno.errorcode[e.errno])
END
same "a good short count, then EINVAL" "23 EINVAL" "$(tr '\n' ' ' <"$T/out" | sed 's/ $//')"
same "seven rows" 7 "$(lines)"

# pieces are joined on each open; F06
python3 - "$F" <<'END' || fail "pieces"
import os, sys
a, b = (os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND) for _ in 'ab')
os.write(a, b'{"input":"a","out'); os.write(b, b'{"input":"b",'); os.write(a, b'put":8}'); os.write(b, b'"output":9}\n'); os.write(a, b'\n')
os.close(a); os.close(b)
END
same "two rows made of pieces" '{"input":"b","output":9}{"input":"a","output":8}' "$(tail -n 2 "$R" | LC_ALL=C sort -r | tr -d '\n')"
printf '{"input":10,"output":10}' >>"$F" || fail "no line feed"
soon test "$(tail -n 1 "$R")" = '{"input":10,"output":10}'
same "ten rows" 10 "$(lines)"
printf '{"input":11,"outp' >>"$F" || fail "a piece is taken, its fate is known later"
soon grep -q "unfinished capture" "$M/one/error"
same "half a line is never in the file" 10 "$(lines)"
(printf '{"input":12,"output":12}'; printf '\n{"input":13,"output":13}\n') >>"$F" || fail "piece, then rest"
same "twelve rows" 12 "$(lines)"

# F03: too large, in one write or in many
python3 - "$F" <<'END' || fail F03
import errno, os, sys
for size, step in (1000001, 1 << 21), (1500000, 65536), (999999, 65536):
    fd = os.open(sys.argv[1], os.O_WRONLY)
    head, tail = b'{"input":"', b'","output":1}'
    data = head + b'x' * (size - len(head) - len(tail)) + tail + b'\n'
    got = None
    try:
        for i in range(0, len(data), step):
            part = data[i:i + step]
            while part: part = part[os.write(fd, part):]
    except OSError as e:
        got = errno.errorcode[e.errno]
    assert got == ('EMSGSIZE' if size > 1000000 else None), (size, step, got)
    os.close(fd)
END
same "thirteen rows" 13 "$(lines)"
has "F03 counted" "$(status dropped_oversize)" 2

# F07
no truncate -s 3 "$F"
ok truncate -s 0 "$F"
no mv "$F" "$M/one/x"
no rm -f "$F"
same "still thirteen" 13 "$(lines)"

# 16 writers at once: no line lost, none glued (F13)
for i in $(seq 16); do
	(for j in $(seq 20); do echo "{\"input\":\"w$i.$j\",\"output\":$j}"; done >>"$F") & pids="$pids $!"
done
wait $pids
same "all rows of 16 writers" $((13 + 320)) "$(lines)"
python3 -c "
import json, sys
for line in open(sys.argv[1]): json.loads(line)" "$R" || fail "a line is no JSON"

# tune-config.json is taken whole, from one write or several
ok cp "$M/one/tune-config.json" "$T/config"
sed -i 's/"threshold_rows": 200/"threshold_rows": 50/' "$T/config"
ok dd if="$T/config" of="$M/one/tune-config.json" bs=40 status=none conv=notrunc
has "new setting" "$(cat "$M/one/tune-config.json")" '"threshold_rows": 50'
no bash -c 'echo "{\"rank\":\"x\"}" >"$1"' - "$M/one/tune-config.json"
no bash -c 'echo "hello" >"$1"' - "$M/one/tune-config.json"
(printf '{"rank":' >"$M/one/tune-config.json")
soon grep -q "not written whole" "$M/one/error"
has "the old one stands" "$(cat "$M/one/tune-config.json")" '"threshold_rows": 50'
finish
