// Sends a support message to one of six queues. The model weighs the six answers; nothing else decides.

const QUEUES = ["billing", "delivery", "account", "technical", "returns", "feedback"];

function generate(input, lib) {
	if (!lib.lm) return { queue: "feedback" };
	// with the space each queue is one token, as it is inside a sentence
	const said = lib.lm.choose(input.text + "\nQueue:", QUEUES.map((q) => " " + q));
	return { queue: said.trim() };
}
