#!/bin/bash
# An index of mode kolm-2 through the mount: its query language, lines and headings, and what is not well-formed.
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/docs/old"
printf '# Refunds\n\nMoney is paid back within fourteen days.\n\n# Shipping\n\nParcels are shipped on Mondays.\n' >"$T/docs/shop.md"
printf '# Refunds\n\nNothing was ever paid back.\n' >"$T/docs/old/shop.md"
printf 'int parseHttpHeader(const char *line);\n' >"$T/docs/http.txt"
printf '東京都の図書館は月曜日に休みます。\n' >"$T/docs/library.txt"
start
Q=$M/rag/two
poke "$M/rag/ctl" - "index $T/docs name=two mode=kolm-2" "job "
has "built" "$(cat "$M/rag/wait")" " index ok "
same "its verb" "index $T/docs name=two mode=kolm-2" "$(cat "$M/rag/jobs/1/verb")"
paths() { cat "$Q/query?fmt=paths&q=$1"; }
ask_index() { (exec 6<>"$Q/query" && printf '%s\n' "$1" >&6 && cat <&6); }
same "a stem" "shop.md" "$(paths 'shipment+parcel')"
same "camelCase" "http.txt" "$(paths header)"
same "CJK" "library.txt" "$(paths %E5%9B%B3%E6%9B%B8%E9%A4%A8)"
same "+ and -" "shop.md" "$(paths '%2Bpaid+-ever')"
same "a phrase" "old/shop.md" "$(paths '%22ever+paid+back%22')"
same "pre*" "http.txt" "$(paths 'head*')"
same "word~" "shop.md" "$(paths 'parcells~')"
same "ext:" "http.txt" "$(paths 'ext:txt+http')"
same "path:" "old/shop.md" "$(paths 'refunds+path:old%2F')"
same "path=" "old/shop.md" "$(cat "$Q/query?fmt=paths&q=refunds&path=old%2F")"
same "title:" "shop.md" "$(paths 'title:shipping+mondays')"
line=$(ask_index "shipped mondays")
same "lines, heading" "shop.md Shipping" "$(cut -f2,6 <<<"$line" | tr '\t' ' ')"
same "generation" "$(awk '$1 == "generation" { print substr($2, 1, 12) }' "$Q/status")" "$(cut -f4 <<<"$line")"
same "its mode" "shop.md" "$(cat "$Q/query?fmt=paths&q=mondays&mode=kolm-2")"
no cat "$Q/query?q=mondays&mode=rag-bm25-1"
has "another mode" "$(cat "$Q/error")" 'was made with mode kolm-2, not "rag-bm25-1"'
no cat "$Q/query?q=%22open"
has "an open quote" "$(cat "$Q/error")" "is not closed"
no ask_index '#k=3'$'\n''-only'
has "only exclusions" "$(cat "$Q/error")" "nothing to look for"
same "explain adds up" "$(jq -r '.matches[0].score' "$Q/query?fmt=json&q=shipped+mondays")" \
	"$(jq -r '.matches[0].explain[-1].sum' "$Q/query?fmt=json&q=shipped+mondays&explain=1")"
finish
