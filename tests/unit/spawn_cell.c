/* spawn_cell - recipes in a real cell behind all its walls: the calling convention, lib, and
 * BAD-INPUTS D. */
#include "spawn_rig.h"

#include <dirent.h>
#include <sys/ioctl.h>
#include <zip.h>

static void one(const char *source, const char *more, const char *input, struct buf *reply)
{
	struct rig rig;

	rig_open(&rig);
	rig_load(&rig, source, more);
	rig_call(&rig, input, reply);
	rig_close(&rig);
}

static void expect(const char *source, const char *input, const char *want)
{
	struct buf reply = BUF_INIT;

	one(source, "", input, &reply);
	cr_expect(strstr(buf_str(&reply), want), "%s\n  want %s\n  got  %s", source, want,
		buf_str(&reply));
	buf_release(&reply);
}

Test(cell, runs_a_recipe)
{
	expect("function generate(input, lib) { return { out: String(input).toUpperCase(), n: "
	       "[1e21, -0, 0.1 + 0.2] }; }",
		"\"h\\u00e9\"",
		"{\"op\":\"result\",\"recipe\":0,\"output_json\":\"{\\\"out\\\":\\\"H\u00c9\\\","
		"\\\"n\\\":[1e+21,0,0.30000000000000004]}\",\"tried\":[]}");
	expect("const generate = (input) => undefined; // tail", "1", "\"undefined\":true");
	expect("return 7;", "1", "\"output_json\":\"7\"");
	expect("function generate(i, lib) { return Object.keys(lib).join() + lib.params + typeof "
	       "lib.rag + typeof lib.lm; }",
		"1",
		"tokenize,ngrams,countMatches,containsAny,parseFloatSafe,clamp,zscore,patterns,any,"
		"all,voteundefinedundefinedundefined");
	expect("function generate(i, lib) { return [lib.pack, lib.index, lib.params, "
	       "Object.isFrozen(lib)]; }",
		"{\"params\":{\"z\":1}}", "[null,null,{\\\"z\\\":1},true]");
}

Test(cell, tries_the_recipes_in_order)
{
	static const char load[] =
		"{\"op\":\"load\",\"recipes\":[{\"id\":\"a\",\"name\":\"a\",\"source\":\"let let = "
		";\"},{\"id\":\"b\",\"name\":\"b\",\"source\":\"\"},"
		"{\"id\":\"c\",\"name\":\"c\",\"source\":\"function generate(i) { throw new "
		"Error('no ' + i); }\"},"
		"{\"id\":\"d\",\"name\":\"d\",\"source\":\"function generate(i) { if (i > 1) throw "
		"'big'; return 'd'; }\"}],"
		"\"pack\":{\"p\":1},\"index\":null,\"rag\":false,\"lm\":null,\"eval\":true}";
	struct buf reply = BUF_INIT;
	struct rig rig;

	rig_open(&rig);
	rig_send(&rig, load, strlen(load));
	cr_assert(rig_receive(&rig, &reply, 20000));
	cr_assert(
		strstr(buf_str(&reply),
			"{\"recipe\":0,\"id\":\"a\",\"error\":\"recipe does not compile: line 1: "),
		"%s", buf_str(&reply));
	rig_call(&rig, "1", &reply);
	cr_assert(strstr(buf_str(&reply), "\"recipe\":3,\"output_json\":\"\\\"d\\\"\",\"tried\":[{"
					  "\"id\":\"a\",\"stage\":\"compile\","),
		"%s", buf_str(&reply));
	cr_assert(strstr(buf_str(&reply),
			  "{\"id\":\"c\",\"stage\":\"run\",\"error\":\"recipe threw: no 1\"}]"),
		"%s", buf_str(&reply));
	rig_call(&rig, "2", &reply);
	cr_assert(strstr(buf_str(&reply), "\"KOLM_E_NO_RECIPE_HANDLED\",\"error\":\"no recipe in "
					  "artifact handled the input. tried 3; last: "),
		"%s", buf_str(&reply));
	rig_close(&rig);
	buf_release(&reply);
}

/* every row of a golden table goes through the recipe, which says what it got in the table's own
 * encoding */
static const char golden_recipe[] =
	"const fns = { '(x) => x > 2': (x) => x > 2, '() => true': () => true, '(x) => x > 0': (x) "
	"=> x > 0, '() => false': () => false };\n"
	"const dec = (v) => v === null || typeof v !== 'object' ? v : Array.isArray(v) ? "
	"v.map(dec) : '$undefined' in v ? undefined :\n"
	"	'$num' in v ? Number(v.$num) : '$re' in v ? new RegExp(v.$re[0], v.$re[1]) : '$fn' "
	"in v ? fns[v.$fn] : v;\n"
	"const enc = (v) => v === undefined ? { $undefined: true } : typeof v === 'number' && "
	"!Number.isFinite(v) ? { $num: String(v) } : v;\n"
	"function generate(rows, lib) { return rows.map((r) => ({ fn: r.fn, args: r.args, out: "
	"enc(lib[r.fn](...r.args.map(dec))) })); }\n";

static void read_golden(const char *name, struct buf *out)
{
	const char *shared = getenv("SHARED") ? getenv("SHARED") : "../shared";
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/data/compat/golden/%s", shared, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		cr_skip_test("skipped: %s is not there", path);
	cr_assert_eq(read_fd(fd, 1 << 20, out, NULL), 0);
	close(fd);
}

/* the text inside "output_json" */
static void output_of(const struct buf *reply, struct buf *out)
{
	struct json_slice value;

	cr_assert(json_member((struct json_slice){reply->data, reply->len}, "output_json", &value),
		"%s", buf_str(reply));
	cr_assert_eq(json_string(value, out), 0);
}

Test(cell, lib_helpers_golden)
{
	struct buf rows = BUF_INIT, reply = BUF_INIT, got = BUF_INIT;
	struct json_slice want, have;
	size_t a = 0, b = 0, n = 0;

	read_golden("lib_helpers.json", &rows);
	one(golden_recipe, "", buf_str(&rows), &reply);
	output_of(&reply, &got);
	while (json_next((struct json_slice){rows.data, rows.len}, &a, NULL, &want)) {
		cr_assert(json_next((struct json_slice){got.data, got.len}, &b, NULL, &have));
		cr_expect(json_same(want, have), "want %.*s\n got %.*s", (int)want.len, want.text,
			(int)have.len, have.text);
		n++;
	}
	cr_assert_gt(n, 70);
	buf_release(&rows);
	buf_release(&reply);
	buf_release(&got);
}

Test(cell, lib_shape_golden)
{
	struct buf want = BUF_INIT, reply = BUF_INIT, got = BUF_INIT;

	read_golden("lib_shape.json", &want);
	one("function generate(i, lib) { const patterns = {}; for (const k in lib.patterns) "
	    "patterns[k] = { source: lib.patterns[k].source,"
	    " flags: lib.patterns[k].flags }; return [{ keys: Object.keys(lib), patterns, frozen: "
	    "Object.isFrozen(lib) }]; }",
		"", "1", &reply);
	output_of(&reply, &got);
	cr_assert(json_same((struct json_slice){want.data, want.len},
			  (struct json_slice){got.data, got.len}),
		"%s", buf_str(&got));
	buf_release(&want);
	buf_release(&reply);
	buf_release(&got);
}

Test(cell, d01_does_not_compile)
{
	expect("\n\nlet x = ;\nfunction generate() {}", "1", "\"errno\":\"ENOEXEC\"");
	expect("\n\nlet x = ;\nfunction generate() {}", "1", "recipe does not compile: line 3");
	expect("function other() {}", "1",
		"\"errno\":\"ENOEXEC\",\"code\":\"KOLM_E_NO_RECIPE_HANDLED\",\"error\":\"recipe "
		"does not compile: no function 'generate'\"");
	expect("const generate = 7;", "1", "'generate'");
	expect("}); fetch('x'); (function () {", "1", "\"errno\":\"ENOEXEC\"");
	expect("} function anonymous2() {", "1", "\"errno\":\"ENOEXEC\"");
}

/* it ends by itself, or "new" was quicker */
static void ended(struct rig *rig, const char *want)
{
	const char *line = rig_line(rig, "new\n");

	cr_expect(strcmp(line, want) == 0 || strcmp(line, "ended signal=9 egress=-") == 0,
		"want %s, got %s", want, line);
}

/* the recipe's second is processor time; the wall clock is the runner's, and a busy machine is
 * slow. Here: it ends. */
enum { SLOW_MS = 20000 };

static void timed(const char *source, const char *want, long max)
{
	struct buf reply = BUF_INIT;
	struct rig rig;
	long start;

	rig_open(&rig);
	rig_load(&rig, source, "");
	start = rig_ms();
	rig_call(&rig, "1", &reply);
	cr_expect(strstr(buf_str(&reply), want), "%s\n  want %s\n  got  %s", source, want,
		buf_str(&reply));
	cr_expect_lt(rig_ms() - start, max, "%s took %ld ms", source, rig_ms() - start);
	ended(&rig, "ended exit=5 egress=-");
	/* and the next cell on the same pipes works */
	rig_load(&rig, "function generate(i) { return i; }", "");
	rig_call(&rig, "\"again\"", &reply);
	cr_expect(strstr(buf_str(&reply), "again"), "%s", buf_str(&reply));
	rig_close(&rig);
	buf_release(&reply);
}

Test(cell, d02_d03_time)
{
	timed("function generate() { while (true) {} }",
		"\"errno\":\"ETIMEDOUT\",\"code\":\"KOLM_E_RECIPE_TIMEOUT\",\"error\":\"recipe was "
		"stopped after 1000 ms\"",
		SLOW_MS);
	timed("function generate() { for (;;) { try { for (;;) {} } catch (e) {} } }",
		"stopped after 1000 ms", SLOW_MS);
	timed("function generate() { return /(a+)+b/.test('a'.repeat(40)); }",
		"stopped after 1000 ms", SLOW_MS);
	/* D17: an answer, and then it keeps running */
	timed("function generate() { Promise.resolve().then(() => { for (;;) {} }); return 1; }",
		"stopped after 1000 ms", SLOW_MS);
}

Test(cell, d04_no_interrupt_point)
{
	struct buf reply = BUF_INIT;
	static const char *const sources[] = {
		"function generate() { return (new Array(1e9) + '').length; }",
		"function generate() { const a = []; for (let i = 0; i < 1e7; i++) a.push((i * "
		"7919) % 1e7); return a.sort((x, y) => x - y)[5]; }",
	};

	for (size_t i = 0; i < 2; i++) {
		long start = rig_ms();

		one(sources[i], "", "1", &reply);
		cr_expect(strstr(buf_str(&reply), "stopped after 1000 ms") ||
				  strstr(buf_str(&reply), "memory limit of 64 MiB"),
			"%s", buf_str(&reply));
		cr_expect_lt(rig_ms() - start, SLOW_MS);
	}
	buf_release(&reply);
}

/* the engine dies where no exception is possible; found by deep nesting without memory for it */
Test(cell, d05_a_crash_for_want_of_memory_is_told)
{
	timed("function generate() { let o = {}; for (let i = 0; i < 1e6; i++) o = { o }; return "
	      "JSON.stringify(o); }",
		"memory limit", SLOW_MS);
}

Test(cell, d05_memory)
{
	timed("function generate() { const a = []; for (;;) a.push(new Array(100000).fill(7)); }",
		"\"errno\":\"ENOMEM\",\"code\":\"KOLM_E_RECIPE_TIMEOUT\",\"error\":\"recipe "
		"reached the memory limit of 64 MiB\"",
		SLOW_MS);
	timed("function generate() { return 'x'.repeat(2 ** 29); }", "memory limit", SLOW_MS);
}

Test(cell, d06_stack)
{
	timed("function generate() { const f = () => f() + 1; return f(); }",
		"\"errno\":\"EOVERFLOW\"", SLOW_MS);
	timed("function generate() { const o = { toString() { return '' + this; } }; return '' + "
	      "o; }",
		"call stack", SLOW_MS);
	timed("function generate() { const o = { get a() { return this.a; } }; return o.a; }",
		"call stack", SLOW_MS);
	timed("function generate() { const o = { toJSON() { return JSON.stringify(o); } }; return "
	      "JSON.stringify(o); }",
		"call stack", SLOW_MS);
}

Test(cell, d07_throws)
{
	expect("function generate() { throw new Error('bad\\u001b[31m'); }", "1",
		"\"errno\":\"EBADMSG\"");
	expect("function generate() { throw new Error('bad\\u001b[31m'); }", "1",
		"recipe threw: bad\\\\x1b[31m");
	expect("function generate() { throw 'text'; }", "1", "recipe threw: text");
	expect("function generate() { throw { toString() { throw 1; } }; }", "1",
		"recipe threw: a value that cannot be shown");
	expect("function generate() { throw undefined; }", "1", "recipe threw: undefined");
	expect("function generate() { throw new Error('y'.repeat(1000)); }", "1", "yyyy...");
	expect("function generate() { return nothing; }", "1",
		"recipe threw: nothing is not defined");
}

Test(cell, d08_d09_output)
{
	expect("function generate() { return () => 1; }", "1",
		"\"errno\":\"EBADMSG\",\"code\":null,\"error\":\"output is not JSON");
	expect("function generate() { return Symbol('s'); }", "1", "output is not JSON");
	expect("function generate() { return 10n; }", "1", "output is not JSON");
	expect("function generate() { const o = {}; o.o = o; return o; }", "1",
		"output is not JSON");
	expect("function generate() { return 'x'.repeat(2 * 1024 * 1024); }", "1",
		"\"errno\":\"EMSGSIZE\",\"code\":null,\"error\":\"output larger than 1 MiB\"");
}

static void egress(const char *source, const char *api)
{
	struct buf reply = BUF_INIT;
	struct rig rig;
	char want[100];

	snprintf(want, sizeof(want), "{\"op\":\"egress\",\"api\":\"%s\"}", api);
	rig_open(&rig);
	rig_load(&rig, source, "");
	rig_call(&rig, "1", &reply);
	cr_expect_str_eq(buf_str(&reply), want, "%s", source);
	ended(&rig, "ended exit=3 egress=-");
	rig_close(&rig);
	buf_release(&reply);
}

Test(cell, d11_language_traps)
{
	egress("function generate() { try { fetch('http://127.0.0.1'); } catch (e) {} return "
	       "'fine'; }",
		"fetch");
	egress("function generate() { try { new XMLHttpRequest(); } catch (e) {} return 1; }",
		"XMLHttpRequest");
	egress("function generate() { return new WebSocket('ws://x'); }", "WebSocket");
	egress("function generate() { return new EventSource('x'); }", "EventSource");
	egress("function generate() { const r = require; return r('net'); }", "require");
	egress("function generate() { navigator.sendBeacon('x'); return 1; }",
		"navigator.sendBeacon");
	egress("function generate() { importScripts('x'); return 1; }", "importScripts");
	egress("function generate() { try { import /* x */ ('http'); } catch (e) {} return 1; }",
		"import");
	expect("function generate() { return 'import (it) ' + typeof fetch; }", "1",
		"import (it) function");
	expect("/* import (a) */ function generate() { const o = { import: 1 }; return [`import "
	       "(it)`, "
	       "/import(x)/.test('importx'), o.import]; } // import (b)",
		"1", "[\\\"import (it)\\\",true,1]");
	/* a property may have any name, and so may a group of a pattern */
	expect("function generate() { const o = { import(x) { return x + 1; } }; class A { static "
	       "import () { return 5; } }\n"
	       "return [o.import(1), o . import(2), o?.import(3), o./* x */import (4), "
	       "A.import(), /(?<import>a)b\\k<import>/.exec('aba').groups.import]; }",
		"1", "[2,3,4,5,5,\\\"a\\\"]");
	egress("function generate() { const o = { import(x) {} }; o.import(1); "
	       "return `${import\n('x').catch(() => 0)}`; }",
		"import");
	egress("function generate() { try { import <!-- x\n('http'); } catch (e) {} return 1; }",
		"import");
	egress("function generate() { /'/.test(''); import('http').catch(() => 0); return "
	       "/'/.test('a'); }",
		"import");
}

/* half of an emoji, as slice() leaves it */
Test(cell, lone_surrogates_end_no_text)
{
	static const char source[] =
		"function answer(input, output, prompt, call) { return "
		"'a\\ud83d\\u00e9\\u20ac\\ud83d\\ude00\\ude00z'; }\n"
		"function generate(i) { if (i) throw new Error('b\\ud83d c'); return i; }";
	static const char frame[] = "{\"op\":\"answer\",\"input\":0,\"output\":0,\"prompt\":\"p\","
				    "\"call\":0}";
	struct buf reply = BUF_INIT;
	struct rig rig;

	rig_open(&rig);
	rig_load(&rig, source, "");
	rig_call(&rig, "0", &reply);
	rig_send(&rig, frame, strlen(frame));
	cr_assert(rig_receive(&rig, &reply, 20000));
	cr_expect_str_eq(buf_str(&reply),
		"{\"answer\":\"a\xef\xbf\xbd\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbdz\"}");
	rig_call(&rig, "1", &reply);
	cr_expect_not_null(
		strstr(buf_str(&reply), "recipe threw: b\xef\xbf\xbd c"), "%s", buf_str(&reply));
	rig_close(&rig);
	buf_release(&reply);
	egress("function generate() { const s = '\\ud83d'; import(s).catch(() => 0); return 1; }",
		"import");
}

Test(cell, d12_nothing_reachable)
{
	expect("function generate() { return process.pid; }", "1", "process is not defined");
	expect("function generate() { return WebAssembly; }", "1", "WebAssembly is not defined");
	expect("function generate() { return new Worker('x'); }", "1", "Worker is not defined");
	expect("function generate() { return (0, eval)('1'); }", "1", "not allowed");
	expect("function generate() { return Function('return 1')(); }", "1", "not allowed");
	expect("function generate() { return (() => 1).constructor('return 1')(); }", "1",
		"not allowed");
	expect("function generate() { return (async () => 1).constructor('return 1')(); }", "1",
		"not allowed");
	expect("function generate(i, lib) { return [typeof SharedArrayBuffer, typeof Atomics, "
	       "typeof Reflect, typeof Proxy, typeof $vm, this === undefined]; }",
		"1",
		"\\\"undefined\\\",\\\"undefined\\\",\\\"undefined\\\",\\\"undefined\\\","
		"\\\"undefined\\\",true");
}

Test(cell, d13_fresh_every_time)
{
	struct buf reply = BUF_INIT;
	struct rig rig;

	rig_open(&rig);
	rig_load(&rig,
		"function generate(i, lib) { const n = globalThis.seen || 0; globalThis.seen = n + "
		"1; Array.prototype.map = null; JSON.stringify = () => 'x';"
		" Object.freeze = null; return [n, lib.patterns.email.lastIndex, "
		"lib.patterns.email.test('a@b.cd')]; }",
		"");
	for (int i = 0; i < 3; i++) {
		rig_call(&rig, "1", &reply);
		cr_expect(strstr(buf_str(&reply), "\"output_json\":\"[0,0,true]\""), "%s",
			buf_str(&reply));
	}
	cr_expect_str_eq(rig_line(&rig, "new\n"), "ended signal=9 egress=-");
	rig_close(&rig);
	buf_release(&reply);
}

Test(cell, d15_clock_and_random_are_fixed_in_eval)
{
	static const char source[] =
		"function generate() { return [Date.now(), new Date().toISOString(), Date().length "
		"> 5, Math.random(), Math.random(), new Date(5).getTime(),"
		" new Date() instanceof Date, new Intl.DateTimeFormat('en').format()]; }";
	struct buf first = BUF_INIT, second = BUF_INIT;

	one(source, ",\"eval\":true", "1", &first);
	usleep(2000);
	one(source, ",\"eval\":true", "1", &second);
	cr_assert_str_eq(buf_str(&first), buf_str(&second));
	cr_assert(strstr(buf_str(&first), "1700000000000,\\\"2023-11-14T22:13:20.000Z\\\",true,0."),
		"%s", buf_str(&first));
	one(source, ",\"eval\":false", "1", &second);
	cr_assert_str_neq(buf_str(&first), buf_str(&second));
	buf_release(&first);
	buf_release(&second);
}

Test(cell, asks_upstream)
{
	static const char load[] =
		"{\"op\":\"load\",\"recipes\":[{\"id\":\"a\",\"name\":\"a\",\"source\":\"function "
		"generate(i, lib) { const c = lib.lm.choose(i, ['x', 'y']);"
		" let bad = ''; try { lib.lm.generate('p', {max_tokens: 3}) } catch (e) { bad = "
		"e.message; }"
		" return [c, bad, lib.lm.revision, lib.lm.base, lib.rag.query('q').matches, "
		"Array.isArray(lib.rag.query('q', 2).matches)]; }"
		" function answer(input, output, prompt, call) { return output[0] + prompt + call; "
		"}\"}],"
		"\"pack\":null,\"index\":null,\"rag\":true,\"lm\":{\"revision\":\"v1\",\"base\":"
		"\"tiny\"},\"eval\":true}";
	static const char *const talk[][2] = {
		{"{\"op\":\"choose\",\"prompt\":\"in\",\"choices\":[\"x\",\"y\"],\"options\":{}}",
			"{\"index\":1,\"scores\":[-2,-1]}"},
		{"{\"op\":\"generate\",\"prompt\":\"p\",\"options\":{\"max_tokens\":3}}",
			"{\"error\":\"no such model\"}"},
		{"{\"op\":\"rag\",\"query\":\"q\",\"k\":5}", "{\"result\":{\"matches\":[1]}}"},
		{"{\"op\":\"rag\",\"query\":\"q\",\"k\":2}", "{\"result\":{\"matches\":[]}}"},
	};
	static const char call[] = "{\"op\":\"call\",\"input\":\"in\",\"params\":null}",
			  ask[] = "{\"op\":\"answer\",\"input\":\"in\",\"output\":[\"o\"],"
				  "\"prompt\":\"P\",\"call\":2}";
	struct buf reply = BUF_INIT;
	struct rig rig;

	rig_open(&rig);
	rig_send(&rig, load, strlen(load));
	cr_assert(rig_receive(&rig, &reply, 20000));
	rig_send(&rig, call, strlen(call));
	for (size_t i = 0; i < 4; i++) {
		cr_assert(rig_receive(&rig, &reply, 20000));
		cr_expect_str_eq(buf_str(&reply), talk[i][0]);
		if (i == 0)
			usleep(1300 * 1000); /* the model's time is not the recipe's */
		rig_send(&rig, talk[i][1], strlen(talk[i][1]));
	}
	cr_assert(rig_receive(&rig, &reply, 20000));
	cr_expect(strstr(buf_str(&reply),
			  "[\\\"y\\\",\\\"no such model\\\",\\\"v1\\\",\\\"tiny\\\",[1],true]"),
		"%s", buf_str(&reply));
	rig_send(&rig, ask, strlen(ask));
	cr_assert(rig_receive(&rig, &reply, 20000));
	cr_expect_str_eq(buf_str(&reply), "{\"answer\":\"oP2\"}");
	rig_close(&rig);
	buf_release(&reply);
}

/* the process called ${name} whose parent is ${parent} */
static pid_t find_process(const char *name, pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (!found && (entry = readdir(proc)) != NULL) {
		char path[300], comm[64];
		int pid, ppid;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%d (%60[^)]) %*c %d", &pid, comm, &ppid) == 3 &&
			ppid == parent && strcmp(comm, name) == 0)
			found = pid;
		if (f)
			fclose(f);
	}
	closedir(proc);
	return found;
}

/* after the last call a cell is told to end; one that does not, is ended, and that is seen */
Test(cell, it_ends_by_itself_when_told)
{
	static const char end[] = "{\"op\":\"end\"}";
	struct buf reply = BUF_INIT;
	struct rig rig;
	long start;

	rig_open(&rig);
	rig_load(&rig, "function generate(i) { return i; }", "");
	rig_call(&rig, "1", &reply);
	rig_send(&rig, end, sizeof(end) - 1);
	cr_expect_str_eq(rig_line(&rig, "last\n"), "ended exit=0 egress=-");
	rig_load(&rig, "function generate(i) { return i; }", "");
	rig_call(&rig, "1", &reply);
	start = rig_ms();
	cr_expect_str_eq(rig_line(&rig, "last\n"), "ended signal=9 egress=-");
	cr_expect_geq(rig_ms() - start, 900, "it had %ld ms", rig_ms() - start);
	rig_close(&rig);
	buf_release(&reply);
}

/* D16: a cell that dies is known by how it died, and the next one works on the same pipes, with
 * nothing of the old talk in them */
Test(cell, d16_a_dead_cell_is_replaced)
{
	struct buf reply = BUF_INIT;
	struct rig rig;
	pid_t spawner, cell;

	rig_open(&rig);
	rig_load(&rig, "function generate() { return 'first'; }", "");
	spawner = find_process("kolm-spawner", getpid());
	cell = find_process("kolm-cell", spawner);
	cr_assert(spawner && cell);
	cr_assert_eq(kill(cell, SIGKILL), 0);
	while (strcmp(rig_line(&rig, "arm\n"), "gone") != 0)
		usleep(1000);
	rig_send(&rig, "{\"op\":\"call\"", 12); /* to nobody */
	usleep(20 * 1000);
	cr_assert_str_eq(rig_line(&rig, "new\n"), "ended signal=9 egress=-");
	rig_load(&rig, "function generate() { return 'second'; }", "");
	rig_call(&rig, "1", &reply);
	cr_assert(strstr(buf_str(&reply), "second"), "%s", buf_str(&reply));
	cr_assert_neq(find_process("kolm-cell", spawner), cell);
	rig_close(&rig);
	cr_assert_eq(find_process("kolm-cell", spawner), 0);
	buf_release(&reply);
}

/* a runner that dies while its canary is out: nothing of it is looked at afterwards, and whoever
 * comes next is served */
Test(cell, a_runner_dies_during_its_canary)
{
	struct spawn_exit ex;
	struct rig rig;
	int left = 1;

	rig_open(&rig);
	cr_assert_eq(write_all(rig.line_out, "walls\n", 6, NULL), 0);
	while (left > 0) /* until the relay has it */
		cr_assert_eq(ioctl(rig.line_out, FIONREAD, &left), 0);
	usleep(20 * 1000);
	cr_assert_eq(kill(rig.pid, SIGKILL), 0);
	cr_assert_eq(spawner_wait(rig.exit_fd, &ex, NULL), 0, "the spawner died");
	cr_assert(ex.signalled && ex.status == SIGKILL);
	cr_assert_eq(spawner_kill(rig.sp, rig.pid, SIGKILL, NULL), -ESRCH, "the spawner died");
	rig.exit_fd = open("/dev/null", O_RDONLY);
	rig_close(&rig);
}

/* what the engine needs once in a while - collections, ICU, big sorts, promises - stays within the
 * system-call list, and calls leave nothing behind */
Test(cell, a_long_life_in_one_cell)
{
	static const char source[] =
		"async function later(x) { await null; return x; }\n"
		"function* gen(n) { for (let i = 0; i < n; i++) yield i; }\n"
		"function generate(i, lib) {\n"
		"	const a = Array.from({ length: 4000 }, (_, k) => ({ k: (k * 7919) % 4000, "
		"s: 'x' + k })); a.sort((x, y) => x.k - y.k || x.s.localeCompare(y.s));\n"
		"	later(1).then((x) => { a.length = 0; }); console.log('nothing');\n"
		"	const m = new Map(a.map((o) => [o.s, o])); let n = 0; for (const g of "
		"gen(100)) n += g;\n"
		"	return [a[5].k, m.size, n, '\\u0041\\u030a'.normalize('NFC').length, "
		"(1234.5).toLocaleString('de'), new Date(0).toString(), new "
		"Date(0).toLocaleDateString('en'),\n"
		"		'\\u00e4'.localeCompare('z', 'sv'), "
		"[...'a1b2'.matchAll(/\\d/g)].length, /\\p{Lu}/u.test('\\u00c9'), new "
		"Uint8Array(3).fill(7).join(''), structured(i)];\n"
		"}\n"
		"function structured(i) { return JSON.parse(JSON.stringify({ i, d: new Date(0), r: "
		"Math.sign(Math.random()) })); }\n";
	struct buf reply = BUF_INIT;
	struct rig rig;

	rig_open(&rig);
	rig_load(&rig, source, "");
	for (int i = 0; i < 120; i++) {
		rig_call(&rig, "{\"a\":[1,2,{\"b\":null}]}", &reply);
		cr_assert(strstr(buf_str(&reply),
				  "[5,4000,4950,1,\\\"1.234,5\\\",\\\"Thu Jan 01 1970 00:00:00 "
				  "GMT+0000 (Coordinated Universal Time)\\\""),
			"%d: %s", i, buf_str(&reply));
	}
	rig_close(&rig);
	buf_release(&reply);
}

/* ---- the reference's artifacts ---- */

static bool entry(zip_t *zip, const char *name, struct buf *out)
{
	zip_file_t *f = zip_fopen(zip, name, 0);
	char data[4096];
	zip_int64_t n;

	buf_reset(out);
	if (!f)
		return false;
	while ((n = zip_fread(f, data, sizeof(data))) > 0)
		buf_add(out, data, (size_t)n);
	zip_fclose(f);
	return true;
}

/* pack and index: magic, version, length, JSON */
static void slot(zip_t *zip, const char *name, size_t head, const char *key, struct buf *frame)
{
	struct buf data = BUF_INIT;

	buf_addf(frame, ",\"%s\":", key);
	if (entry(zip, name, &data))
		buf_add(frame, data.data + head, data.len - head);
	else
		buf_puts(frame, "null");
	buf_release(&data);
}

static void load_artifact(struct rig *rig, const char *path)
{
	struct buf frame = BUF_INIT, recipes = BUF_INIT, reply = BUF_INIT;
	struct json_slice list;
	zip_t *zip = zip_open(path, ZIP_RDONLY, NULL);

	cr_assert(zip, "%s", path);
	cr_assert(entry(zip, "recipes.json", &recipes));
	cr_assert(json_member((struct json_slice){recipes.data, recipes.len}, "recipes", &list));
	buf_puts(&frame, "{\"op\":\"load\",\"recipes\":");
	buf_add(&frame, list.text, list.len);
	slot(zip, "lora.bin", 13, "pack", &frame);
	slot(zip, "index.sqlite-vec", 12, "index", &frame);
	buf_puts(&frame, ",\"rag\":false,\"lm\":null,\"eval\":false}");
	rig_send(rig, frame.data, frame.len);
	cr_assert(rig_receive(rig, &reply, 20000));
	cr_assert_str_eq(buf_str(&reply), "{\"op\":\"loaded\",\"errors\":[]}");
	zip_discard(zip);
	buf_release(&frame);
	buf_release(&recipes);
	buf_release(&reply);
}

static void run_recorded(struct json_slice run, struct json_slice input, const char *shared)
{
	struct json_slice artifact, want = {NULL, 0}, params = {"null", 4}, tried;
	struct buf name = BUF_INIT, frame = BUF_INIT, reply = BUF_INIT, expected = BUF_INIT,
		   got = BUF_INIT;
	struct rig rig;
	char path[4096];

	cr_assert(json_member(run, "artifact", &artifact));
	json_string(artifact, &name);
	json_member(run, "params", &params);
	snprintf(path, sizeof(path), "%s/data/compat/artifacts/%s.kolm", shared, buf_str(&name));
	rig_open(&rig);
	load_artifact(&rig, path);
	buf_puts(&frame, "{\"op\":\"call\",\"input\":");
	buf_add(&frame, input.text, input.len);
	buf_puts(&frame, ",\"params\":");
	buf_add(&frame, params.text, params.len);
	buf_putc(&frame, '}');
	rig_send(&rig, frame.data, frame.len);
	cr_assert(rig_receive(&rig, &reply, 20000));
	if (!json_member(run, "output_json", &want)) {
		cr_expect(json_member((struct json_slice){reply.data, reply.len}, "code", &tried) &&
				  strncmp(tried.text, "\"KOLM_E_NO_RECIPE_HANDLED\"", 26) == 0,
			"%s: %s", buf_str(&name), buf_str(&reply));
	} else if (json_kind_of(want) == JSON_NULL) {
		cr_expect(strstr(buf_str(&reply), "\"undefined\":true"), "%s", buf_str(&reply));
	} else {
		json_string(want, &expected);
		output_of(&reply, &got);
		cr_expect_str_eq(buf_str(&got), buf_str(&expected), "%s", buf_str(&name));
	}
	rig_close(&rig);
	buf_release(&name);
	buf_release(&frame);
	buf_release(&reply);
	buf_release(&expected);
	buf_release(&got);
}

Test(cell, recorded_runs_of_the_reference)
{
	const char *shared = getenv("SHARED") ? getenv("SHARED") : "../shared";
	struct buf golden = BUF_INIT;
	struct json_slice runs, run, input;
	size_t pos = 0, n = 0;

	read_golden("built.json", &golden);
	cr_assert(json_member((struct json_slice){golden.data, golden.len}, "runs", &runs));
	while (json_next(runs, &pos, NULL, &run)) {
		if (!json_member(run, "input", &input))
			continue; /* the size limits of the runner */
		run_recorded(run, input, shared);
		n++;
	}
	cr_assert_gt(n, 20);
	buf_release(&golden);
}
