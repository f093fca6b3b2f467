// A redactor for support mail. Rules mask what rules can see; the model is
// asked for the one thing they cannot: which words are people's names.

const MONTH = "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?" +
	"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)";

// In this order; a match becomes the second text. tools/check-examples.py reads these lines too.
const RULES = [
	["\\b[\\w.%+-]{1,64}@[\\w-]{1,63}(?:\\.[\\w-]{1,63})+", "[EMAIL]"],
	["\\b\\d{4}-\\d{2}-\\d{2}\\b", "[DATE]"],
	["\\b\\d{1,2}\\/\\d{1,2}\\/\\d{2,4}\\b", "[DATE]"],
	["\\b\\d{1,2}\\.\\d{1,2}\\.\\d{4}\\b", "[DATE]"],
	["\\b\\d{1,2}(?:st|nd|rd|th)?(?: of)? " + MONTH + "\\b(?: \\d{4}\\b)?", "[DATE]"],
	["\\b" + MONTH + " \\d{1,2}(?:st|nd|rd|th)?\\b(?:,? \\d{4}\\b)?", "[DATE]"],
	["#(?:[A-Z]{1,4}-?)?\\d{3,}\\b", "[ID]"],
	["\\b[A-Z]{1,5}-(?:\\d{2,4}-)?\\d{3,}\\b", "[ID]"],
	["\\b[A-Z]{2,4}\\d{4,}\\b", "[ID]"],
	["\\+\\d{1,3}(?:[ .-]?\\(?\\d{1,5}\\)?){2,6}\\b", "[PHONE]"],
	["\\(\\d{3}\\) ?\\d{3}[ .-]\\d{4}\\b", "[PHONE]"],
	["\\b(?:\\d{3}[ .-])?\\d{3}[.-]\\d{4}\\b", "[PHONE]"],
	["\\b\\d{3} \\d{3} \\d{4}\\b", "[PHONE]"],
	["\\b0\\d{1,4}(?:[ \\/-]\\d{2,8}){1,4}\\b", "[PHONE]"],
	["\\b0\\d{9,10}\\b", "[PHONE]"],
	["\\b((?:order|ticket|case|invoice|account|booking|claim|policy|ref)(?: (?:no\\.?|number|id))?:? )\\d{4,}\\b", "$1[ID]"],
	["\\b\\d{5,}\\b", "[ID]"],
];

const mask = (text) => RULES.reduce((t, [re, to]) => t.replace(new RegExp(re, "gi"), to), text);

const NAME_CHARS_MAX = 40;	// longer than that, the model is rambling

// The name as the text spells it: "Priya" finds "priya", but "Will" stays away from "will" where the text has "Will".
function spelled(masked, name) {
	if (masked.includes(name)) return name;
	const at = masked.toLowerCase().indexOf(name.toLowerCase());
	return at < 0 ? "" : masked.slice(at, at + name.length);
}

// Put [NAME] for each whole-word occurrence of a name, the longest name first; placeholders stay as they are.
function hide(masked, names) {
	const words = names.map((n) => spelled(masked, n)).filter((n) => n.length <= NAME_CHARS_MAX && /\p{L}/u.test(n))
		.sort((a, b) => b.length - a.length)
		.map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
	if (!words.length) return masked;
	const re = new RegExp("(^|[^\\p{L}\\p{N}_])(?:" + words.join("|") + ")(?![\\p{L}\\p{N}_])", "gu");
	return masked.split(/(\[[A-Z]+\])/).map((s, i) => i % 2 ? s : s.replace(re, "$1[NAME]")).join("");
}

// "Ana Ruiz; Bo" -> ["Ana Ruiz", "Bo"]; none -> []
function namesIn(said) {
	const list = String(said).split(/[;\n]/).map((n) => n.trim());
	return list.length === 1 && /^none\.?$/i.test(list[0]) ? [] : list;
}

function generate(input, lib) {
	const masked = mask(input.text);
	if (!lib.lm) return { text: masked };
	const said = lib.lm.generate("Names of people, or none:\n" + masked, { max_tokens: 48 });
	return { text: hide(masked, namesIn(said)) };
}

// What the model should have said for `input`, read back out of the corrected `output`: the text between two
// [NAME] of the output stands in the masked input too, in the same order, and what lies between is the names.
// The first way to lay them that gives the output again is the answer; null when there is none. It begins with a
// space, so that the first name is made of the same tokens as in the text: copying is then easier to learn.
function answer(input, output) {
	if (!input || !output || typeof input.text !== "string" || typeof output.text !== "string") return null;
	const masked = mask(input.text);
	const pieces = output.text.split("[NAME]");
	if (!masked.startsWith(pieces[0])) return null;
	let tries = 5000;
	const lay = (k, at, names) => {
		if (k === pieces.length)
			return at === masked.length && hide(masked, names) === output.text ? names : null;
		if (masked.startsWith("[NAME]" + pieces[k], at)) {	// it stood in the input already
			const found = lay(k + 1, at + 6 + pieces[k].length, names);
			if (found) return found;
		}
		for (let end = at + 1; end <= at + NAME_CHARS_MAX && end <= masked.length && tries-- > 0; end++) {
			if (k === pieces.length - 1 && end + pieces[k].length !== masked.length) continue;
			const name = masked.slice(at, end);
			if (/[;\n[\]]/.test(name)) return null;
			if (name.trim() !== name || !masked.startsWith(pieces[k], end)) continue;
			const found = lay(k + 1, end + pieces[k].length, names.includes(name) ? names : [...names, name]);
			if (found) return found;
		}
		return null;
	};
	const names = lay(1, pieces[0].length, []);
	return names && " " + (names.join("; ") || "none");
}
