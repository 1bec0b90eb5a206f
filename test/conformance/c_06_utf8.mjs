// 6: text is UTF-8, also across fragments and pieces; and what is not fails at once.
import { good, bad, section } from './lib/suite.mjs';
import { FAILED, TEXT, cont, frame, more, pieces, text } from './lib/wire.mjs';

const hex = (s) => Buffer.from(s.replace(/ /g, ''), 'hex');
const chr = (n) => Buffer.from(String.fromCodePoint(n));
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const cat = (...parts) => Buffer.concat(parts.map((p) => Buffer.from(p)));

const kosme = hex('ce ba e1 bd b9 cf 83 ce bc ce b5'), surrogates = hex('ed a0 80'), edited = 'edited';
const hello = cat('Hello-µ@ßöäüàá-UTF-8!!'), broken = cat(kosme, surrogates, edited);
export const cases = [
	good('6.1.1', 'text of length 0', [text('')], [[TEXT, '']]),
	good('6.1.2', 'three empty fragments', [text('', more), cont('', more), cont('')], [[TEXT, '']]),
	good('6.1.3', 'three fragments, the first and the last empty', [text('', more), cont('middle frame payload', more), cont('')], [[TEXT, 'middle frame payload']]),
	good('6.2.1', 'valid text', [text(hello)], [[TEXT, hello]]),
	good('6.2.2', 'two fragments, cut between characters', [text(hello.subarray(0, 8), more), cont(hello.subarray(8))], [[TEXT, hello]]),
	good('6.2.3', 'in fragments of one octet', pieces(TEXT, hello, 1), [[TEXT, hello]]),
	good('6.2.4', 'the same with another text', pieces(TEXT, kosme, 1), [[TEXT, kosme]]),
	bad('6.3.1', 'a surrogate inside text', [text(broken)], 1007),
	bad('6.3.2', 'the same in fragments of one octet', pieces(TEXT, broken, 1), 1007),
	// fail fast: what comes behind FAILED is sent only once the Close is here
	bad('6.4.1', 'three fragments: valid, the bad octet, never', [text(cat(kosme), more), cont(hex('f4 90 80 80'), more), FAILED, cont(edited)], 1007),
	bad('6.4.2', 'the second ends with the bad octet', [text(cat(kosme, hex('f4')), more), cont(hex('90'), more), FAILED, cont(cat(hex('80 80'), edited))], 1007),
];

// 6.4.3 and 6.4.4: in one frame, of which the rest is never sent. So is each bad case below, in the way "early"; here with
// text before it that goes through all strides of the validator.
for (const [i, at] of [...range(0, 40), 63, 64, 65, 127, 128, 1000, 4096, 70000].entries()) {
	const wire = cat('x'.repeat(at), hex('f4 90'), 'never'.repeat(20));
	cases.push(bad(`6.4.3.${i + 1}`, `the bad octet at ${at}`, [text(wire)], 1007, [], { ways: ['early', 'segment'] }));
	const inside = cat('é'.repeat(at / 2), 'x'.repeat(at % 2), hex('ed a0'), 'never'.repeat(20));
	cases.push(bad(`6.4.4.${i + 1}`, `the same behind text that is not ASCII`, [text(inside)], 1007, [], { ways: ['early', 'segment'], plain: true }));
}

// [group, what, texts]: each alone in a message
const listed = (group, what, list) => list.map((b, i) => [`${group}.${i + 1}`, `${what}: ${b.toString('hex')}`, b]);
const concat = (list) => [...list, Buffer.concat(list)];
const spaced = (list) => Buffer.concat(list.flatMap((b) => [b, Buffer.from(' ')]));
const firsts = (from, to) => range(from, to).map((b) => Buffer.from([b]));

const valid = [
	...listed('6.5', 'a greek word', [kosme, cat(kosme, kosme), cat(' ', kosme), cat(kosme, '\0'), cat('\0', kosme)]),
	...listed('6.7', 'the first character of a length', [hex('00'), hex('c2 80'), hex('e0 a0 80'), hex('f0 90 80 80')]),
	...listed('6.9', 'the last character of a length', [hex('7f'), hex('df bf'), hex('ef bf bf'), hex('f4 8f bf bf')]),
	...listed('6.11', 'other boundaries', [hex('ed 9f bf'), hex('ee 80 80'), hex('ef bf bd'), hex('f4 8f bf bf'), hex('e1 80 80'), hex('ec bf bf'), hex('f1 80 80 80'), hex('f3 bf bf bf')]),
	...listed('6.22', 'noncharacters', [...range(0, 16).flatMap((p) => [chr(p * 65536 + 0xfffe), chr(p * 65536 + 0xffff)]), ...range(0xfdd0, 0xfdef).map(chr)]),
	...listed('6.23', 'specials', [...range(0xfff0, 0xfffd).map(chr), chr(0xfeff), cat(chr(0xfeff), 'x'), chr(0x2028), chr(0x200d), chr(0x85)]),
	...listed('6.23.b', 'controls', [...firsts(0, 31), hex('7f')]),
];
const starts2 = firsts(0xc0, 0xdf), starts3 = firsts(0xe0, 0xef), starts4 = firsts(0xf0, 0xf7), starts5 = firsts(0xf8, 0xfb), starts6 = firsts(0xfc, 0xfd);
const lastMissing = [hex('c0'), hex('e0 80'), hex('f0 80 80'), hex('f8 80 80 80'), hex('fc 80 80 80 80'), hex('df'), hex('ef bf'), hex('f7 bf bf'), hex('fb bf bf bf'), hex('fd bf bf bf bf')];
const singles = ['ed a0 80', 'ed ad bf', 'ed ae 80', 'ed af bf', 'ed b0 80', 'ed be 80', 'ed bf bf'].map(hex);
const invalid = [
	...listed('6.8', 'the first of five and six octets', [hex('f8 88 80 80 80'), hex('fc 84 80 80 80 80')]),
	...listed('6.10', 'the last of five and six octets, and of more than there is', [hex('f7 bf bf bf'), hex('fb bf bf bf bf'), hex('fd bf bf bf bf bf')]),
	...listed('6.11.b', 'one above the last', [hex('f4 90 80 80')]),
	...listed('6.12', 'continuations without a start', [hex('80'), hex('bf'), ...range(2, 7).map((n) => hex('80bf80bf80bf80'.slice(0, 2 * n))), Buffer.concat(firsts(0x80, 0xbf))]),
	...listed('6.13', 'lonely starts', [starts2, starts3, starts4, starts5, starts6].map(spaced)),
	...listed('6.13.b', 'one lonely start', firsts(0xc0, 0xff).map((b) => cat(b, ' '))),
	...listed('6.13.c', 'one lonely start at the end', firsts(0xc0, 0xff)),
	...listed('6.14', 'the last octet is missing', concat(lastMissing)),
	...listed('6.14.b', 'the last octet is missing, more text follows', lastMissing.map((b) => cat(b, 'x'))),
	...listed('6.16', 'octets that never occur', [hex('fe'), hex('ff'), hex('fe fe ff ff')]),
	...listed('6.17', 'overlong slashes', ['c0 af', 'e0 80 af', 'f0 80 80 af', 'f8 80 80 80 af', 'fc 80 80 80 80 af'].map(hex)),
	...listed('6.18', 'the largest overlong forms', ['c1 bf', 'e0 9f bf', 'f0 8f bf bf', 'f8 87 bf bf bf', 'fc 83 bf bf bf bf'].map(hex)),
	...listed('6.19', 'overlong NULs', ['c0 80', 'e0 80 80', 'f0 80 80 80', 'f8 80 80 80 80', 'fc 80 80 80 80 80'].map(hex)),
	...listed('6.20', 'single surrogates', singles),
	...listed('6.21', 'surrogates in pairs', singles.slice(0, 4).flatMap((high) => [cat(high, hex('ed b0 80')), cat(high, hex('ed bf bf'))])),
];
// Those with a letter are ours, and many: not through TLS as well.
for (const [id, what, b] of valid) cases.push(good(id, what, [text(b)], [[TEXT, b]], { plain: /[a-z]/.test(id) }));
for (const [id, what, b] of invalid) cases.push(bad(id, what, [text(b)], 1007, [], { plain: /[a-z]/.test(id) }));
for (let n = 1; n <= kosme.length; n++) {
	const b = kosme.subarray(0, n), whole = [2, 5, 7, 9, 11].includes(n);
	cases.push(whole ? good(`6.6.${n}`, `the first ${n} octets of a greek word`, [text(b)], [[TEXT, b]]) : bad(`6.6.${n}`, `the first ${n} octets of a greek word`, [text(b)], 1007));
}
// All of them in one message, cut everywhere; and each invalid one in fragments, so that every cut lies inside it.
const every = Buffer.concat(valid.map(([, , b]) => b));
for (const [i, size] of [1, 2, 3, 5, 7, 8, 9, 31, 64].entries()) cases.push(good(`6.24.${i + 1}`, `all valid ones in fragments of ${size}`, pieces(TEXT, every, size), [[TEXT, every]]));
for (const [id, what, b] of invalid) if (b.length > 1) cases.push(bad(`${id}f`, `${what}, octet by octet in fragments`, pieces(TEXT, b, 1), 1007, [], { ways: ['early', 'frames'], plain: true }));
cases.push(bad('6.25.1', 'a text that ends inside a character in an empty fragment', [text(hex('e2 82'), more), cont('')], 1007));
cases.push(good('6.25.2', 'a character across a fragment that is empty', [text(hex('e2 82'), more), cont('', more), cont(hex('ac'))], [[TEXT, '€']]));
cases.push(bad('6.25.3', 'the next message begins anew', [text('é'), text(hex('a9'))], 1007, [[TEXT, 'é']]));
cases.push(good('6.25.4', 'binary is no text', [frame(2, hex('ff fe c0 80 ed a0 80'))], [[2, hex('ff fe c0 80 ed a0 80')]]));

// Each first octet with each second one at a boundary: as node's decoder says, in one message each.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const isText = (b) => {
	try {
		return decoder.decode(b).length > 0;
	} catch {
		return false;
	}
};
const boundary = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
const tails = [[], [0x80], [0xbf, 0x80]];
for (const a of range(0x80, 0xff)) {
	for (const b of boundary) {
		const made = tails.map((tail) => Buffer.from([a, b, ...tail])), right = made.find(isText), id = `6.26.${a.toString(16)}${b.toString(16)}`;
		if (right) cases.push(good(id, 'a first and a second octet', [text(right)], [[TEXT, right]], { ways: ['segment'], plain: true }));
		else cases.push(bad(id, 'a first and a second octet', [text(made[2])], 1007, [], { ways: ['early'], plain: true }));
	}
}

await section(import.meta, '6 UTF-8', cases);
