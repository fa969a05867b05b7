/** What `vmhostd --help` prints. */
export const HELP = `usage: vmhostd [options]

A VM host daemon on /dev/kvm. Options are QEMU's own.

  -machine pc|none         none: a VM without RAM, vCPUs and devices (default pc)
  -m SIZE                  guest memory, whole MiB (512, 512M, 2G; default 128M)
  -smp N                   vCPUs (default 1)
  -kernel FILE             kernel: PVH ELF or 64-bit bzImage
  -initrd FILE             initial RAM disk
  -append TEXT             kernel command line
  -qmp unix:PATH,server=on[,wait=off]
  -qmp tcp:HOST:PORT,server=on[,wait=off]
                           QMP socket; may be given several times (-qmp-pretty: indented)
  -serial stdio|file:PATH|unix:PATH[,server=on[,wait=off]]|null
                           where the serial port's bytes go
  -incoming tcp:HOST:PORT|unix:PATH|defer
                           wait for a live migration instead of booting
  -device isa-debug-exit[,iobase=N][,iosize=N]
                           a port by which the guest ends the daemon
  -S                       do not start the guest; wait for 'cont'
  -no-reboot               end when the guest resets itself
  -no-shutdown             stop, not end, when the guest shuts down
  -name NAME  -uuid UUID   what query-name and query-uuid say
  -pidfile FILE            write the process id there
  -enable-kvm -nographic -nodefaults -no-user-config -accel kvm -display none
                           accepted; they describe what vmhostd does anyway
  -version  -help

VMHOSTD_LOG=info (debug, warn, error) sets what is logged on standard error.
`;
