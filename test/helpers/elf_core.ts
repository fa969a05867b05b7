/** Reads an ELF core of 64 bits, as far as tests look at one. */
export interface CoreSegment {
  readonly type: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly bytes: number;
}

export interface CoreNote {
  readonly name: string;
  readonly type: number;
  readonly desc: Buffer;
}

export class ElfCore {
  readonly file: Buffer;
  readonly machine: number;
  readonly segments: readonly CoreSegment[];

  constructor(file: Buffer) {
    if (file.toString('latin1', 0, 4) !== '\x7fELF') throw new Error('not an ELF file');
    this.file = file;
    this.machine = file.readUInt16LE(18);
    const word = (at: number) => Number(file.readBigUInt64LE(at));
    const phnum = file.readUInt16LE(56);
    // More than fit there: the first section has the number.
    const count = phnum === 0xffff ? file.readUInt32LE(word(40) + 44) : phnum;
    this.segments = Array.from({ length: count }, (_, i) => {
      const at = word(32) + 56 * i;
      return {
        type: file.readUInt32LE(at),
        offset: word(at + 8),
        virtual: file.readBigUInt64LE(at + 16),
        physical: file.readBigUInt64LE(at + 24),
        bytes: word(at + 32),
      };
    });
  }

  get loads(): CoreSegment[] {
    return this.segments.filter(({ type }) => type === 1);
  }

  get notes(): CoreNote[] {
    const segment = this.segments.find(({ type }) => type === 4);
    const notes: CoreNote[] = [];
    if (!segment) return notes;
    for (let at = segment.offset; at < segment.offset + segment.bytes; ) {
      const [nameBytes, descBytes] = [this.file.readUInt32LE(at), this.file.readUInt32LE(at + 4)];
      const descAt = at + 12 + Math.ceil(nameBytes / 4) * 4;
      notes.push({
        name: this.file.toString('latin1', at + 12, at + 12 + nameBytes - 1),
        type: this.file.readUInt32LE(at + 8),
        desc: this.file.subarray(descAt, descAt + descBytes),
      });
      at = descAt + Math.ceil(descBytes / 4) * 4;
    }
    return notes;
  }

  /** Memory at a virtual address of a segment. */
  memory(address: bigint, length: number): Buffer {
    const of = this.loads.find(({ virtual, bytes }) => address >= virtual && address < virtual + BigInt(bytes));
    if (!of) throw new Error(`0x${address.toString(16)} is not in the core`);
    const at = of.offset + Number(address - of.virtual);
    return this.file.subarray(at, at + length);
  }

  /** The names of its sections' string table. */
  get sectionNames(): string {
    const table = Number(this.file.readBigUInt64LE(40)) + 64 * this.file.readUInt16LE(62);
    const [at, bytes] = [24, 32].map((member) => Number(this.file.readBigUInt64LE(table + member)));
    return this.file.toString('latin1', at, (at as number) + (bytes as number));
  }
}
