/** Where QEMU 7.2's pc with the same number of vCPUs has its objects: paths that events and queries name. */

/** Of one vCPU. The first one's APIC takes device[1]. */
export function cpuQomPath(index: number): string {
  return `/machine/unattached/device[${index === 0 ? 0 : index + 1}]`;
}

/** Of the real-time clock. */
export function rtcQomPath(vcpus: number): string {
  return `/machine/unattached/device[${vcpus + 9}]`;
}
