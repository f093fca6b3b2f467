#!/usr/bin/env node
// loop.js MOUNTPOINT SLUG [ROWS.jsonl] - train on corrected rows, measure, promote if the gate lets it.
// Files only: nothing to install. STEP="step epochs=1" in the environment changes how it trains.
'use strict';
const fs = require('fs');

const [mountpoint, name, rows] = process.argv.slice(2);
if (!name) {
	console.error('usage: loop.js MOUNTPOINT SLUG [ROWS.jsonl]');
	process.exit(1);
}
const slug = mountpoint + '/' + name;
const read = (file) => fs.readFileSync(slug + '/' + file, 'utf8').trim();

// One line to ctl. A refusal is an exception with the errno in .code; `error` beside ctl holds the sentence.
function command(line) {
	const fd = fs.openSync(slug + '/ctl', 'r+');
	try {
		fs.writeSync(fd, line + '\n');
	} finally {
		fs.closeSync(fd);
	}
}

// Start a job and read `wait`, which answers when it is over: "12 step ok rev=v1 k=- pass=- elapsed=31.4"
function job(line) {
	command(line);
	const end = read('wait');
	console.log(end);
	if (end.split(' ')[2] !== 'ok') process.exit(1);
	return /rev=(\S+)/.exec(end)[1];
}

function main() {
	if (rows) fs.appendFileSync(slug + '/captures.jsonl', fs.readFileSync(rows));

	const rev = job(process.env.STEP || 'step');
	job('eval ' + rev);
	const measured = JSON.parse(read('revisions/' + rev + '/eval.json'));
	console.log(`measured: ${measured.passed} of ${measured.total}, K ${measured.k}`);
	for (const c of measured.cases) if (!c.pass) console.log('  wrong:', c.id, c.error || JSON.stringify(c.output));

	try {
		command('promote ' + rev);
		console.log('promoted', rev);
	} catch (e) {
		if (e.code !== 'ERANGE') throw e;
		console.log('refused by the gate:', read('error'));
	}
	console.log('HEAD is', read('HEAD'));

	// `run` is written and then read on the same open file
	const fd = fs.openSync(slug + '/run', 'r+'), answer = Buffer.alloc(1 << 20);
	fs.writeSync(fd, JSON.stringify({ text: 'Hello, this is Maria Lopez, order 48213. Where is my parcel?' }));
	console.log(answer.toString('utf8', 0, fs.readSync(fd, answer, 0, answer.length, 0)).trim());
	fs.closeSync(fd);
}

try {
	main();
} catch (e) {
	console.error(e.message + (fs.existsSync(slug + '/error') ? ': ' + read('error') : ''));
	process.exit(1);
}
