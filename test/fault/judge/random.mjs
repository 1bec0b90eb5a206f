// A seeded generator (mulberry32): the same seed gives the same schedule of faults.
export class Random {
	constructor(seed) {
		this.state = seed >>> 0;
	}

	// [0, 1)
	next() {
		this.state = (this.state + 0x6d2b79f5) >>> 0;
		let t = this.state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	}

	below(n) {
		return Math.floor(this.next() * n);
	}

	between(a, b) {
		return a + this.next() * (b - a);
	}

	chance(p) {
		return this.next() < p;
	}

	pick(list) {
		return list[this.below(list.length)];
	}

	// Mean `mean`, mostly short and sometimes long: instants that no schedule of the program is in step with.
	gap(mean) {
		return -Math.log(1 - this.next()) * mean;
	}
}
