#!/bin/bash
# What a worker says stands in jobs/N/log, whichever of its outputs it says it on; of one that never stops talking only the beginning and the end do.
. "$(dirname "$0")/lib.sh"

make_ask
worker() { cat >talk.sh && chmod +x talk.sh && jq ".workers = {ask: \"$T/talk.sh\"}" "$S/config.json" >c.json && cp c.json "$S/config.json"; }
log() { cat "$S/tune/ask/jobs/$1/log"; }

# few words are all kept; a line of standard error is no result, however much it looks like one
worker <<'END'
#!/bin/sh
echo 'begun'
echo '{"ok":false,"error":"said on standard error"}' >&2
echo '{"event":"progress","step":1,"of":1}'
printf '{"ok":false,"error":"the real reason"}'
END
fails 4 'the real reason' tune step --artifact ask.kolm
[ "$(log 1 | grep -v '"plan"' | LC_ALL=C sort | grep -c 'begun\|standard error\|progress\|real reason')" = 4 ] || bad "the log is: $(log 1)"
log 1 | grep -q 'left out' && bad "nothing was left out"

# 24 MB on one output, 8 on the other
worker <<'END'
#!/bin/sh
echo 'begun'
yes 'a line of forty bytes, a line of forty.' | head -n 200000 >&2
yes 'a line of forty bytes, a line of forty!' | head -n 600000
echo 'nearly done' >&2
echo '{"ok":false,"error":"talked too much"}'
END
fails 4 'talked too much' tune step --artifact ask.kolm
size=$(log 2 | wc -c)
[ "$size" -gt $((8 << 20)) ] && [ "$size" -lt $((9 << 20)) ] || bad "the log has $size bytes"
log 2 | head -c 65536 | grep -qx begun || bad "its beginning is not there"
log 2 | tail -n 3 | grep -qx 'nearly done' || bad "its end is not there: $(log 2 | tail -n 3)"
log 2 | tail -n 3 | grep -qx '{"ok":false,"error":"talked too much"}' || bad "its result is not there"
left=$(log 2 | sed -n 's/^kolm: \([0-9]*\) bytes of what it said are left out here$/\1/p')
said=$((800000 * 40 + $(printf 'begun\nnearly done\n{"ok":false,"error":"talked too much"}\n' | wc -c)))
all=$(log 2 | grep -v '^kolm: [0-9]* bytes of what it said' | wc -c)
before=$(log 1 | grep -v 'begun\|standard error\|progress\|real reason' | wc -c)
[ "$((all - before + ${left:-0}))" = "$said" ] || bad "$all bytes there ($before not the worker's), ${left:-no} left out, $said said"
finish
