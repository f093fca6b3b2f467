#!/bin/bash
# lib.lm as a recipe sees it: answers bound to a schema, a pattern or a list; choose with scores; refusals as exceptions; the model's own clock; what bound answers teach.
. "$(dirname "$0")/lib.sh"

[ -f "$MODEL" ] || skip "no base model at $MODEL (make model)"
cat >ask.spec.json <<'END_SPEC'
{"job_id":"job_ask","task":"ask the model","base_model":"none","recipes":[{"id":"rcp_ask","name":"ask","source_file":"ask.js"}],
"evals":{"cases":[{"id":"a","input":{"free":1},"expected":"bound"}]}}
END_SPEC
cat >ask.js <<'END_JS'
function generate(input, lib) {
  if (!lib.lm) return 'no model';
  if (input.free) return 'bound';
  if (input.look) return [lib.lm.revision, typeof lib.lm.base, Object.isFrozen(lib.lm)];
  if (input.choices) return lib.lm.choose(input.prompt, input.choices, input.options);
  if (input.again) for (let n = 1; ; n++) try { lib.lm.generate(input.prompt, input.options); } catch (e) { if (/of one run/.test(e.message)) throw e; }
  if (input.pattern) return lib.lm.generate(input.prompt, { regex: /^(?:ticket|order) \d{2,4}$/u, max_tokens: 12 });
  if (input.flags) return lib.lm.generate(input.prompt, { regex: /a/i });
  if (input.label) return JSON.parse(lib.lm.generate(input.label, { max_tokens: 16, grammar: { type: 'object', properties: { label: { enum: ['bug', 'praise', 'order'] } }, required: ['label'] } })).label;
  return lib.lm.generate(input.prompt, input.options);
}
END_JS
run compile --spec ask.spec.json --out ask.kolm --allow-below-gate; ends 0
works 'no model' run ask.kolm '{"prompt":"x"}' --force
run tune init --artifact ask.kolm --base "$MODEL"; ends 0
works '"v0"' run ask.kolm '{"look":1}' --force; says '"string"'; says 'true'

# whatever is asked, the answer parses
G='{"type":"object","properties":{"city":{"type":"string","maxLength":10},"n":{"type":"integer"},"ok":{"type":"boolean"}},"required":["city","n","ok"]}'
for prompt in 'Tell me about Paris.' 'Nothing.' '"}]{'; do
	run run ask.kolm "$(jq -cn --arg p "$prompt" --argjson g "$G" '{prompt:$p,options:{grammar:$g,max_tokens:30}}')" --force; ends 0
	printf '%s' "$OUT" | jq -e '(keys_unsorted == ["city","n","ok"]) and (.n == (.n | floor)) and (.city | length) <= 10 and (.ok | type) == "boolean"' >/dev/null || bad "not what the schema says"
done
first=$OUT
run run ask.kolm "$(jq -cn --arg p '"}]{' --argjson g "$G" '{prompt:$p,options:{grammar:$g,max_tokens:30}}')" --force; [ "$OUT" = "$first" ] || bad "another answer the second time"
run run ask.kolm '{"pattern":1,"prompt":"Name a ticket."}' --force; ends 0; says_like '^(ticket|order) [0-9]{2,4}$'
run run ask.kolm '{"prompt":"How urgent is a fire?","options":{"choices":["low","high"],"temperature":1.5,"seed":3}}' --force; ends 0; says_like '^(low|high)$'
run run ask.kolm '{"choices":["low","high"],"prompt":"How urgent is a fire?"}' --force; ends 0; says_like '^(low|high)$'; chosen=$OUT
run run ask.kolm '{"choices":["low","high"],"prompt":"How urgent is a fire?","options":{"scores":true}}' --force; ends 0
printf '%s' "$OUT" | jq -e --arg c "$chosen" '.choice == $c and (.scores | length) == 2 and .scores[.index] == (.scores | max) and (.scores | max) < 0' >/dev/null || bad "scores"

# what cannot be done is an exception with a sentence
refused() {
	fails 4 "$1" run ask.kolm "$2" --force
}
refused 'grammar at /a: keyword \"minimum\" is not supported' '{"prompt":"x","options":{"grammar":{"type":"object","properties":{"a":{"type":"number","minimum":1}}}}}'
refused 'pattern: looking around is not regular' '{"prompt":"x","options":{"regex":"(?=a)b"}}'
refused 'grammar, regex and choices exclude each other' '{"prompt":"x","options":{"regex":"a","choices":["a"]}}'
refused 'stop would cut what regex makes whole' '{"prompt":"x","options":{"regex":"a","stop":"b"}}'
refused 'flags i, m, s and v are not supported' '{"flags":1,"prompt":"x"}'
refused 'max_tokens: 2 is not enough' '{"prompt":"x","options":{"regex":"(one two three four five six seven ){8}","max_tokens":2}}'
refused 'max_tokens: 1 to 4096' '{"prompt":"x","options":{"max_tokens":0}}'

# the model's clock is its own: longer than the recipe's second, shorter when told so
LONGTALK='{"prompt":"Count from one to ten thousand in words, one number after the other.","options":{"max_tokens":4096,"regex":"[a-z ,]{1000,4000}"}}'
from=$(date +%s%N)
fails 4 'model call stopped after 2000 ms' run ask.kolm "$LONGTALK" --force --timeout 2
[ $((($(date +%s%N) - from) / 1000000)) -ge 1900 ] || bad "stopped before its time"
fails 4 'model call stopped after 200 ms' run ask.kolm "$(printf '%s' "$LONGTALK" | jq -c '.options.timeout = 0.2')" --force --timeout 60
fails 1 '--timeout: seconds, 1 to 3600' run ask.kolm x --timeout 0
# and a run's calls have one together, however many they are and whatever the recipe catches
fails 4 'model calls of one run stopped after 10000 ms in all' run ask.kolm '{"again":1,"prompt":"Hi.","options":{"max_tokens":64,"regex":"[a-z ]{40,60}"}}' --force --timeout 1
# in an eval too, where a call that takes too long fails its case and nothing else
jq -cn --argjson i "$LONGTALK" '{id:"long",input:$i,expected:"never"},{id:"short",input:{free:1},expected:"bound"}' >two.jsonl
run eval ask.kolm --examples two.jsonl --trace --timeout 1; ends 0; says_line '  passed:    1 / 2  (50.0%)'; says 'long  error: model call stopped after 1000 ms'
fails 1 '--timeout: seconds, 1 to 3600' eval ask.kolm --timeout 3601
fails 1 '--timeout: seconds, 1 to 3600' tune eval --artifact ask.kolm --timeout soon

# rows: the answer is found through the schema, and only what the grammar lets it say
C=$S/tune/ask/captures.jsonl
run tune capture-on --artifact ask.kolm; ends 0
for w in 'it crashes:bug' 'lovely:praise' 'two boxes please:order' 'nonsense:none'; do
	echo "{\"input\":{\"label\":\"${w%:*}\"},\"output\":\"${w#*:}\"}" >>"$C"
done
run tune step --artifact ask.kolm --epochs 1; ends 0
R=$(find "$S/tune/ask/jobs" -name rows.jsonl)
[ "$(jq -c .answer "$R" | tr -d '\n')" = '"{\"label\":\"bug\"}""{\"label\":\"praise\"}""{\"label\":\"order\"}"' ] || bad "rows: $(cat "$R")"

# a worker that lacks its training library: exit 3
cat >nolib.sh <<'END_SH'
#!/bin/sh
echo '{"ok":false,"error":"no module named peft"}'
exit 64
END_SH
chmod +x nolib.sh
jq --arg c "$T/nolib.sh" '.workers = {ask: $c}' "$S/config.json" >c.json && cp c.json "$S/config.json"
echo '{"input":{"label":"it burns"},"output":"bug"}' >>"$C"
fails 3 'training library missing: no module named peft' tune step --artifact ask.kolm
finish
