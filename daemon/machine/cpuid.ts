/** The CPUID each vCPU sees: the CPU model's, with each vCPU's own identity. */
import type { KvmCpuidEntry } from '../../kvm/structs.js';

const ECX_X2APIC = 1 << 21;
const ECX_TSC_DEADLINE = 1 << 24;
const ECX_HYPERVISOR = 1 << 31;
const EDX_HTT = 1 << 28;

/**
 * What a guest can be given here: what KVM lists, and what it offers without listing it.
 * @param tscDeadline whether KVM offers the APIC's deadline timer
 */
export function offeredCpuid(supported: readonly KvmCpuidEntry[], tscDeadline: boolean): KvmCpuidEntry[] {
  return supported.map((leaf) => {
    if (leaf.function !== 0x1) return leaf;
    return {
      ...leaf,
      ecx: (leaf.ecx | ECX_X2APIC | ECX_HYPERVISOR | (tscDeadline ? ECX_TSC_DEADLINE : 0)) >>> 0,
    };
  });
}

/**
 * Leaves of one vCPU.
 * @param leaves of the CPU model
 * @param apicId this vCPU's number, which is also its APIC id
 * @param vcpus how many there are: one socket, one thread a core
 */
export function vcpuCpuid(leaves: readonly KvmCpuidEntry[], apicId: number, vcpus: number): KvmCpuidEntry[] {
  const apicBits = Math.ceil(Math.log2(Math.max(vcpus, 1)));
  return leaves.map((leaf) => {
    const entry = { ...leaf };
    switch (leaf.function) {
      case 0x1:
        // Intel SDM vol. 2A, CPUID leaf 01H: EBX[31:24] initial APIC id, EBX[23:16] logical processors.
        entry.ebx = ((leaf.ebx & 0xffff) | ((vcpus & 0xff) << 16) | ((apicId & 0xff) << 24)) >>> 0;
        if (vcpus > 1) entry.edx = (leaf.edx | EDX_HTT) >>> 0;
        break;
      case 0xb:
      case 0x1f:
        // Level 0: threads (one a core), level 1: cores; EDX is the x2APIC id on every level.
        entry.edx = apicId;
        if (leaf.index === 0) Object.assign(entry, { eax: 0, ebx: 1, ecx: 1 << 8 });
        else if (leaf.index === 1) Object.assign(entry, { eax: apicBits, ebx: vcpus, ecx: (2 << 8) | 1 });
        else Object.assign(entry, { eax: 0, ebx: 0, ecx: leaf.index });
        break;
      case 0x80000008:
        // AMD APM vol. 3: ECX[7:0] cores - 1, ECX[15:12] size of the core id.
        entry.ecx = ((leaf.ecx & ~0xf0ff) | ((vcpus - 1) & 0xff) | ((apicBits & 0xf) << 12)) >>> 0;
        break;
      case 0x8000001e:
        entry.eax = apicId;
        entry.ebx = ((leaf.ebx & ~0xffff) | (apicId & 0xff)) >>> 0;
        entry.ecx = 0;
        break;
    }
    return entry;
  });
}
