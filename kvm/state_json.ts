/** JSON forms of whole VM and vCPU states: what a live migration carries. Reading one back checks every member. */
import { bytesToJson, jsonArray, jsonBytes, jsonObject, jsonU64, jsonUint, LayoutError, u64ToJson } from './layout.js';
import {
  kvmCpuidEntry,
  kvmDebugregs,
  kvmIoapicState,
  kvmPicState,
  kvmPitState2,
  kvmRegs,
  kvmSregs,
  kvmSregs2,
  kvmVcpuEvents,
  kvmXcrs,
} from './structs.js';
import type { VcpuState } from './vcpu.js';
import type { VmState } from './vm.js';

const MAX_XSAVE_BYTES = 64 * 1024;
const LAPIC_BYTES = 1024;
const MAX_MSRS = 1024;
const MAX_CPUID_ENTRIES = 256;
const U32_MAX = 0xffffffff;

export function vcpuStateToJson(state: VcpuState): Record<string, unknown> {
  return {
    mp_state: state.mp_state,
    regs: kvmRegs.toJson(state.regs),
    ...('pdptrs' in state.sregs ? { sregs2: kvmSregs2.toJson(state.sregs) } : { sregs: kvmSregs.toJson(state.sregs) }),
    xsave: bytesToJson(state.xsave),
    xcrs: kvmXcrs.toJson(state.xcrs),
    debugregs: kvmDebugregs.toJson(state.debugregs),
    lapic: bytesToJson(state.lapic),
    tsc_khz: state.tsc_khz,
    cpuid: state.cpuid.map((entry) => kvmCpuidEntry.toJson(entry)),
    msrs: state.msrs.map(([index, value]) => [index, u64ToJson(value)]),
    events: kvmVcpuEvents.toJson(state.events),
  };
}

/** @throws LayoutError naming the member under `path` that does not fit */
export function vcpuStateFromJson(json: unknown, path: string): VcpuState {
  const o = jsonObject(json, path);
  return {
    mp_state: jsonUint(o.mp_state, `${path}.mp_state`, U32_MAX),
    regs: kvmRegs.fromJson(o.regs, `${path}.regs`),
    sregs:
      o.sregs2 !== undefined
        ? kvmSregs2.fromJson(o.sregs2, `${path}.sregs2`)
        : kvmSregs.fromJson(o.sregs, `${path}.sregs`),
    xsave: jsonBytes(o.xsave, `${path}.xsave`, 4096, MAX_XSAVE_BYTES),
    xcrs: kvmXcrs.fromJson(o.xcrs, `${path}.xcrs`),
    debugregs: kvmDebugregs.fromJson(o.debugregs, `${path}.debugregs`),
    lapic: jsonBytes(o.lapic, `${path}.lapic`, LAPIC_BYTES, LAPIC_BYTES),
    tsc_khz: jsonUint(o.tsc_khz, `${path}.tsc_khz`, U32_MAX),
    cpuid: jsonArray(o.cpuid, `${path}.cpuid`, MAX_CPUID_ENTRIES).map((entry, i) =>
      kvmCpuidEntry.fromJson(entry, `${path}.cpuid[${i}]`),
    ),
    msrs: jsonArray(o.msrs, `${path}.msrs`, MAX_MSRS).map((entry, i): [number, bigint] => {
      const at = `${path}.msrs[${i}]`;
      const pair = jsonArray(entry, at, 2);
      if (pair.length !== 2) throw new LayoutError(at, 'an index and a value', entry);
      return [jsonUint(pair[0], `${at}[0]`, U32_MAX), jsonU64(pair[1], `${at}[1]`)];
    }),
    events: kvmVcpuEvents.fromJson(o.events, `${path}.events`),
  };
}

export function vmStateToJson(state: VmState): Record<string, unknown> {
  return {
    pic_master: kvmPicState.toJson(state.pic_master),
    pic_slave: kvmPicState.toJson(state.pic_slave),
    ioapic: kvmIoapicState.toJson(state.ioapic),
    pit2: kvmPitState2.toJson(state.pit2),
    clock: u64ToJson(state.clock),
  };
}

/** @throws LayoutError naming the member under `path` that does not fit */
export function vmStateFromJson(json: unknown, path: string): VmState {
  const o = jsonObject(json, path);
  return {
    pic_master: kvmPicState.fromJson(o.pic_master, `${path}.pic_master`),
    pic_slave: kvmPicState.fromJson(o.pic_slave, `${path}.pic_slave`),
    ioapic: kvmIoapicState.fromJson(o.ioapic, `${path}.ioapic`),
    pit2: kvmPitState2.fromJson(o.pit2, `${path}.pit2`),
    clock: jsonU64(o.clock, `${path}.clock`),
  };
}
