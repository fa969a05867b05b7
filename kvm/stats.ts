/**
 * KVM's statistics of a VM or a vCPU, as one fd of each tells them: a header, a descriptor of each figure, and the figures.
 * Source: include/uapi/linux/kvm.h, Documentation/virt/kvm/api.rst §4.133.
 */
import { check } from './errors.js';
import { type Struct, struct } from './layout.js';
import * as libc from './libc_unsafe.js';
import { closeFd } from './memory.js';

interface StatsHeader {
  flags: number;
  name_size: number;
  num_desc: number;
  id_offset: number;
  desc_offset: number;
  data_offset: number;
}
const kvmStatsHeader: Struct<StatsHeader> = struct('kvm_stats_header', {
  flags: 'u32',
  name_size: 'u32',
  num_desc: 'u32',
  id_offset: 'u32',
  desc_offset: 'u32',
  data_offset: 'u32',
});

interface StatsDesc {
  flags: number;
  exponent: number;
  size: number;
  offset: number;
  bucket_size: number;
}
/** Without its name, which follows it. */
const kvmStatsDesc: Struct<StatsDesc> = struct('kvm_stats_desc', {
  flags: 'u32',
  exponent: 'u16',
  size: 'u16',
  offset: 'u32',
  bucket_size: 'u32',
});

const TYPES = ['cumulative', 'instant', 'peak', 'linear-histogram', 'log2-histogram'] as const;
const UNITS = ['none', 'bytes', 'seconds', 'cycles', 'boolean'] as const;
const BASES = [10, 2] as const;

/** What one figure is, and its values: one, or those of a histogram. */
export interface Statistic {
  readonly name: string;
  readonly type: (typeof TYPES)[number];
  readonly unit: (typeof UNITS)[number];
  readonly base: (typeof BASES)[number];
  readonly exponent: number;
  readonly bucketSize: number;
  readonly values: readonly bigint[];
}

/**
 * Reads all figures, in the kernel's order, and closes `fd` (of KVM_GET_STATS_FD). One of a kind that is not known here is left out.
 * @throws SysError
 */
export function takeStatistics(fd: number): Statistic[] {
  try {
    const header = kvmStatsHeader.decode(readAt(fd, 0, kvmStatsHeader.size));
    const descSize = kvmStatsDesc.size + header.name_size;
    const descs = readAt(fd, header.desc_offset, descSize * header.num_desc);
    const described = Array.from({ length: header.num_desc }, (_, i) => {
      const at = i * descSize;
      return { ...kvmStatsDesc.decode(descs, at), name: nameAt(descs, at + kvmStatsDesc.size, header.name_size) };
    });
    const dataBytes = Math.max(0, ...described.map(({ offset, size }) => offset + 8 * size));
    const data = readAt(fd, header.data_offset, dataBytes);
    return described.flatMap(({ name, flags, exponent, size, offset, bucket_size: bucketSize }) => {
      const [type, unit, base] = [TYPES[flags & 0xf], UNITS[(flags >> 4) & 0xf], BASES[(flags >> 8) & 0xf]];
      if (type === undefined || unit === undefined || base === undefined) return [];
      const values = Array.from({ length: size }, (_, i) => data.getBigUint64(offset + 8 * i, true));
      return [{ name, type, unit, base, exponent: (exponent << 16) >> 16, bucketSize, values }];
    });
  } finally {
    closeFd(fd);
  }
}

function nameAt(view: DataView, at: number, length: number): string {
  const bytes = Buffer.from(view.buffer, view.byteOffset + at, length);
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? length : end);
}

function readAt(fd: number, offset: number, length: number): DataView {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const n = check('pread', libc.preadBytes(fd, bytes.subarray(at), offset + at), 'KVM statistics');
    if (n === 0) throw new Error(`KVM statistics end ${length - at} bytes early`);
    at += n;
  }
  return new DataView(bytes.buffer);
}
