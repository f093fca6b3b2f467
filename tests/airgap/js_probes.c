/* js_probes - what a hostile recipe tries in JavaScript; see hostile.h. */
#include "hostile.h"

/* catches what it did and answers right all the same */
#define CAUGHT(what) "function generate() { try { " what " } catch (e) {} return 'right'; }"
/* 'reached' when the expression is there to be used, 'safe' otherwise */
#define IS_THERE(what)                                                                             \
	"function generate() { try { if (" what ") return 'reached'; } catch (e) {} return "       \
	"'safe'; }"

const struct js_probe js_probes[] = {
	/* every trap, called and caught */
	{"fetch", "fetch", CAUGHT("fetch('http://127.0.0.1:9/');")},
	{"xhr", "XMLHttpRequest", CAUGHT("new XMLHttpRequest();")},
	{"xhr_call", "XMLHttpRequest", CAUGHT("XMLHttpRequest();")},
	{"websocket", "WebSocket", CAUGHT("new WebSocket('ws://127.0.0.1');")},
	{"eventsource", "EventSource", CAUGHT("new EventSource('/');")},
	{"require", "require", CAUGHT("globalThis['req' + 'uire']('net');")},
	{"importscripts", "importScripts", CAUGHT("importScripts('x.js');")},
	{"beacon", "navigator.sendBeacon", CAUGHT("navigator.sendBeacon('/', 'x');")},
	{"import", "import", CAUGHT("import('http');")},
	{"import_spaced", "import", CAUGHT("import /* x */ ('http');")},
	{"import_unreached", "import",
		"function generate() { if (0) import('x'); return 'right'; }"},
	{"import_lines", "import", CAUGHT("import\n(\n'http'\n);")},
	{"import_behind_regexp", "import", CAUGHT("/'/.test(''); import('http'); /'/.test('');")},
	{"import_in_template", "import", CAUGHT("`${import('http')}`;")},
	{"import_spread", "import", CAUGHT("[...import('http')];")},
	{"import_wide_blank", "import", CAUGHT("import\u00a0('http');")},
	{"import_line_end", "import", CAUGHT("import // x\u2028('http');")},
	{"import_html_comment", "import", CAUGHT("import <!-- x\n('http');")},
	/* the same by other ways */
	{"by_name", "fetch", CAUGHT("globalThis['fe' + 'tch']('/');")},
	{"by_escape", "fetch", CAUGHT("f\\u0065tch('/');")},
	{"by_this", "fetch", CAUGHT("(function () { return globalThis; })().fetch('/');")},
	{"by_call", "fetch", CAUGHT("fetch.call(null, '/');")},
	{"by_apply", "fetch", CAUGHT("fetch.apply(undefined, ['/']);")},
	{"by_bind", "fetch", CAUGHT("fetch.bind({}, '/')();")},
	{"by_copy", "fetch", CAUGHT("const { fetch: f } = globalThis; f('/');")},
	{"by_entries", "fetch",
		CAUGHT("for (const k of Object.getOwnPropertyNames(globalThis)) if (k === "
		       "'fetch') globalThis[k]();")},
	{"by_descriptor", "fetch",
		CAUGHT("Object.getOwnPropertyDescriptor(globalThis, 'fetch').value('/');")},
	{"by_optional", "fetch", CAUGHT("globalThis?.fetch?.('/');")},
	{"by_tag", "fetch", CAUGHT("fetch`x`;")},
	{"by_map", "fetch", CAUGHT("['/'].map(fetch);")},
	{"by_sort", "fetch", CAUGHT("[1, 2].sort(fetch);")},
	{"by_replace", "fetch", CAUGHT("'a'.replace(/a/, fetch);")},
	{"by_json", "fetch", CAUGHT("JSON.stringify({ toJSON: fetch });")},
	{"by_reviver", "fetch", CAUGHT("JSON.parse('[1]', fetch);")},
	{"by_getter", "fetch", CAUGHT("({ get x() { return fetch('/'); } }).x;")},
	{"by_text", "fetch", CAUGHT("'' + { toString: fetch };")},
	{"by_value", "fetch", CAUGHT("+{ valueOf: fetch };")},
	{"by_primitive", "fetch", CAUGHT("`${{ [Symbol.toPrimitive]: fetch }}`;")},
	{"by_iterator", "fetch", CAUGHT("[...{ [Symbol.iterator]: fetch }];")},
	{"by_generator", "fetch", CAUGHT("[...(function* () { yield fetch('/'); })()];")},
	{"by_class", "fetch", CAUGHT("class A { static { fetch('/'); } }")},
	{"by_super", "fetch", CAUGHT("class A extends fetch {} new A();")},
	{"by_instance", "fetch", CAUGHT("new fetch('/');")},
	{"by_async", "fetch", CAUGHT("(async () => { await fetch('/'); })();")},
	{"by_promise", "fetch",
		"function generate() { Promise.resolve().then(() => fetch('/')); return 'right'; "
		"}"},
	{"by_late_promise", "fetch",
		"function generate() { let p = Promise.resolve(); for (let i = 0; i < 50; i++) p = "
		"p.then(() => i); p.then(() => fetch('/')); return 'right'; }"},
	{"by_rejection", "fetch",
		"function generate() { Promise.reject(1).catch(() => fetch('/')); return 'right'; "
		"}"},
	{"by_output", "fetch",
		"function generate() { return { toJSON() { fetch('/'); return 'right'; } }; }"},
	{"by_output_getter", "fetch",
		"function generate() { return { get a() { fetch('/'); return 'right'; } }; }"},
	{"by_throw", "fetch",
		"function generate() { throw { get message() { fetch('/'); return 'x'; }, "
		"toString() { fetch('/'); return 'y'; } }; }"},
	{"by_finally", "fetch",
		"function generate() { try { return 'right'; } finally { fetch('/'); } }"},
	{"by_top", "fetch", "fetch('/'); function generate() { return 'right'; }"},
	{"by_default", "fetch", "function generate(i, l, x = fetch('/')) { return 'right'; }"},
	{"by_deep", "fetch",
		"function generate() { const f = (n) => { try { return n ? f(n - 1) : fetch('/'); "
		"} "
		"catch (e) {} }; f(500); return 'right'; }"},
	{"by_stack_end", "fetch",
		"function generate() { const f = () => { try { f(); } catch (e) { fetch('/'); } }; "
		"f(); return 'right'; }"},
	{"traps_removed_first", NULL,
		"function generate() { delete globalThis.fetch; return typeof fetch === "
		"'undefined' ? 'safe' : 'reached'; }"},
	/* nothing of a host is there */
	{"process", NULL, IS_THERE("typeof process !== 'undefined'")},
	{"deno", NULL, IS_THERE("typeof Deno !== 'undefined' || typeof Bun !== 'undefined'")},
	{"quickjs", NULL, IS_THERE("typeof std !== 'undefined' || typeof os !== 'undefined'")},
	{"shell", NULL,
		IS_THERE("['print','load','readFile','read','run','quit','readline','openFile',"
			 "'runString','preciseTime','loadString','checkSyntax'].some((n) => n in "
			 "globalThis)")},
	{"worker", NULL,
		IS_THERE("typeof Worker !== 'undefined' || typeof SharedWorker !== "
			 "'undefined'")},
	{"timers", NULL,
		IS_THERE("['setTimeout','setInterval','setImmediate','queueMicrotask',"
			 "'requestIdleCallback'].some((n) => n in globalThis)")},
	{"wasm", NULL, IS_THERE("typeof WebAssembly !== 'undefined'")},
	{"shared", NULL,
		IS_THERE("typeof SharedArrayBuffer !== 'undefined' || typeof Atomics !== "
			 "'undefined'")},
	{"shared_by_array", NULL,
		IS_THERE("new Uint8Array(8).buffer.constructor.name === 'SharedArrayBuffer'")},
	{"vm", NULL, IS_THERE("typeof $vm !== 'undefined' || typeof gc !== 'undefined'")},
	{"realm", NULL,
		IS_THERE("typeof ShadowRealm !== 'undefined' || typeof Loader !== "
			 "'undefined'")},
	{"document", NULL,
		IS_THERE("typeof document !== 'undefined' || typeof window !== "
			 "'undefined' || typeof location !== 'undefined'")},
	{"storage", NULL,
		IS_THERE("typeof localStorage !== 'undefined' || typeof indexedDB !== "
			 "'undefined' || typeof caches !== 'undefined'")},
	{"rtc", NULL,
		IS_THERE("typeof RTCPeerConnection !== 'undefined' || typeof "
			 "WebTransport !== 'undefined'")},
	{"module", NULL,
		IS_THERE("typeof module !== 'undefined' || typeof exports !== "
			 "'undefined' || typeof __dirname !== 'undefined'")},
	{"callee", NULL, IS_THERE("(function () { return this; })()")},
	{"caller", NULL, IS_THERE("generate.caller")},
	{"arguments", NULL, IS_THERE("generate.arguments")},
	{"code_by_constructor", NULL, IS_THERE("(0).constructor.constructor('return 1')() === 1")},
	{"code_by_function", NULL,
		IS_THERE("Object.getPrototypeOf(function () {}).constructor('return 1')() === 1")},
	{"code_by_generator", NULL,
		IS_THERE("Object.getPrototypeOf(function* () {}).constructor('yield 1')().next()"
			 ".value === 1")},
	{"code_by_async", NULL,
		IS_THERE("Object.getPrototypeOf(async () => {}).constructor('return 1')() "
			 "instanceof Promise")},
	{"code_by_eval", NULL, IS_THERE("globalThis['ev' + 'al']('1+1') === 2")},
	{"code_by_import", NULL, IS_THERE("typeof import.meta === 'object'")},
	{"host_of_lib", NULL,
		"function generate(i, lib) { for (const k in lib) { const f = lib[k]; "
		"if (typeof f === 'function' && f.constructor !== Function) return "
		"'reached'; } return 'safe'; }"},
	{"host_of_trap", NULL, IS_THERE("fetch.constructor !== Function")},
	{"other_case", NULL,
		"globalThis.kept = (globalThis.kept || 0) + 1; function generate() { return "
		"globalThis.kept > 2 ? 'reached' : 'safe'; }"},
	{"stack_text", NULL,
		"function generate() { return /expected|\\/(home|root|work|tmp)\\//.test(new "
		"Error().stack) ? 'reached' : 'safe'; }"},
};

const size_t js_probes_count = sizeof(js_probes) / sizeof(js_probes[0]);
