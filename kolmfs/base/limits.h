/*
 * limits - how much a stranger's artifact, recipe or answer may take, each with its reason. What is
 * said to people where one is reached names the number.
 */
#ifndef KOLM_LIMITS_H
#define KOLM_LIMITS_H

enum {
	/* ---- an artifact's file (BAD-INPUTS C) ---- */
	/* of the file, and of all entries expanded: what a 512 MiB machine can hold once */
	ARTIFACT_BYTES_MAX = 256 * 1024 * 1024,
	/* ten are usual, a workflow has dozens; names are compared each with each */
	ARTIFACT_ENTRIES_MAX = 1024,
	/* of manifest, signature, receipt and credential: ten kilobytes are usual, and each is put
	 * in order once a level, of which JSON_DEPTH_MAX are allowed; half a second */
	ARTIFACT_DOCUMENT_BYTES = 2 * 1024 * 1024,
	/* as file systems have it: entries are shown as files in the mount */
	ZIP_NAME_BYTES_MAX = 255,
	/* what deflate can reach is 1032 to 1; more is a lie about the size */
	ZIP_DEFLATE_RATIO_MAX = 1040,

	/* ---- JSON of any origin ---- */
	/* readers recurse; real documents have a dozen levels */
	JSON_DEPTH_MAX = 256,
	/* a double needs 24; longer is an attack on its parser */
	JSON_NUMBER_BYTES = 1024,
	/* a quarter of an artifact; longer than any model's context */
	JSON_STRING_BYTES = 64 * 1024 * 1024,

	/* ---- a recipe (FORMATS 15.5, BAD-INPUTS D) ---- */
	/* of one recipe's source, in UTF-16 units: FORMATS 15.2 */
	ARTIFACT_SOURCE_UNITS = 65536,
	/* of an input, unless the manifest's policy says less: FORMATS 15.5 */
	ARTIFACT_INPUT_BYTES = 1048576,
	/* of an output: the largest input, its JSON spelling and a little around it */
	JS_OUTPUT_BYTES = 1024 * 1024 + 64 * 1024,
	/* of processor time: FORMATS 15.5 */
	JS_TIME_MS = 1000,
	/* beyond what the engine has when it stands: the largest input twenty times over */
	JS_MEMORY_MIB = 64,
	/* deep enough for any honest recursion, small beside JS_MEMORY_MIB */
	JS_STACK_BYTES = 16 * 1024 * 1024,
	/* of what a recipe throws, for logs and terminals: BAD-INPUTS D07 */
	JS_MESSAGE_BYTES = 200,

	/* ---- a recipe's calls of the model ---- */
	/* one call, on a slow machine a hundred tokens; timeout= changes it */
	LM_CALL_MS = 30000,
	/* what timeout= may say: nobody waits an hour for one answer */
	LM_CALL_S_MAX = 3600,
	/* all calls of one run, in times of one call: five minutes, for which one client may hold a
	 * slug's runner */
	LM_RUN_CALLS = 10,
	LM_TOKENS_DEFAULT = 256,
	/* half of the smallest base's context */
	LM_TOKENS_MAX = 4096,
	/* each is a continuation to be scored */
	LM_CHOICES_MAX = 1024,
	/* each is searched for behind every token */
	LM_STOPS_MAX = 16,
	/* grammars kept between calls, up to 40 MiB each when they are walked far */
	LM_GRAMMARS_MAX = 8,

	/* ---- what an answer may be (trainer/constrain_*) ---- */
	/* 4,600 characters of a JSON string with maxLength; 1 MiB of nodes */
	NFA_NODES_MAX = 65536,
	/* four a node; 4 MiB */
	NFA_EDGES_MAX = 262144,
	/* groups of a pattern, values of a schema: the parsers recurse */
	NFA_NESTING_MAX = 32,
	/* of one class of a pattern, as written; \W has 5 */
	CHARSET_RANGES_MAX = 256,
	/* copies a repeat makes of its atom, each of which is read again */
	REPEAT_MAX = 4096,
	/* bytes of a pattern or schema, each time they are read: copies read again, lists are
	   compared each with each; a second */
	NFA_READ_MAX = 16 * 1024 * 1024,
	/* made while walked, 1 KiB each */
	DFA_STATES_MAX = 16384,
	/* nodes in the sets of all states: 16 MiB */
	DFA_NODES_MAX = 1 << 22,

	/* ---- kolm-runner ---- */
	/* beside three times its base: 2 GiB of keys and values are a prompt of 46,000 tokens for
	 * the base of the examples; the rest for artifact, grammars, index and stacks */
	RUNNER_SPARE_MIB = 4096,

	/* ---- keys and receipts ---- */
	/* a line on a terminal */
	TRUSTED_NAME_BYTES = 64,
	/* ten thousand keys */
	TRUSTED_FILE_BYTES = 1 << 20,
};

#endif
