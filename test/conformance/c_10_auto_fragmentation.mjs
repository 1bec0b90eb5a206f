// 10: clients that cut each message into frames of one size.
import { good, section } from './lib/suite.mjs';
import { BINARY, TEXT, pieces } from './lib/wire.mjs';

const ascii = Buffer.alloc(65536, '*'), letters = Buffer.alloc(65536, 'Zażółć gęślą jaźń '), any = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 13) & 255));
letters.fill('.', 65533);
export const cases = [good('10.1.1', '64 KiB of text in frames of 1300', pieces(TEXT, ascii, 1300), [[TEXT, ascii]])];
// more than the original has
for (const [i, n] of [17, 125, 126, 127, 1300, 4096, 16383, 65534, 65535].entries()) {
	cases.push(good(`10.2.${i + 1}`, `64 KiB of text that is not ASCII in frames of ${n}`, pieces(TEXT, letters, n), [[TEXT, letters]], { ways: [n < 1000 ? 'segment' : 'frames'] }));
	cases.push(good(`10.3.${i + 1}`, `64 KiB of bytes in frames of ${n}`, pieces(BINARY, any, n), [[BINARY, any]], { ways: ['segment'], plain: true }));
}
const several = [TEXT, BINARY, TEXT].flatMap((op) => pieces(op, letters, 1000));
cases.push(good('10.4', 'three messages in frames of 1000', several, [[TEXT, letters], [BINARY, letters], [TEXT, letters]]));

await section(import.meta, '10 auto-fragmentation', cases, { transports: ['plain', 'TLS'] });
