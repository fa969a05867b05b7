# From the PVH entry (32-bit protected mode, no paging) to 64-bit code at CPL 3.
#
# The loader enters as the PVH boot protocol says (xen/include/public/arch-x86/hvm/start_info.h): ebx holds
# the address of hvm_start_info, paging is off, segments are flat.
#
# A host may run CPL 0 code in an instruction emulator at about two million instructions a second. So what is
# here is short: it maps one GiB, sets up the devices and leaves for CPL 3, where all the work is done.

.include "defs.inc"

# The ELF note that tells a loader where to enter: XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h).
.section .note.pvh, "a", @note
    .balign 4
    .long 4                         # name size
    .long 8                         # descriptor size
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry

.section .text
.code32
.globl pvh_entry
pvh_entry:
    cli
    cld
    mov esp, offset stack0_top
    mov [start_info], ebx
    mov dword ptr [start_info + 4], 0

    # Local APIC: on, and LINT0 takes the 8259's interrupts (virtual wire mode, Intel SDM vol. 3 §11.5.1 and
    # MultiProcessor Specification 1.4 §3.6.2.2). Not every firmware leaves it so.
    mov ecx, 0x1b                   # IA32_APIC_BASE
    rdmsr
    test eax, 0x800                 # enabled
    jz 2f
    test eax, 0x400                 # x2APIC: registers are MSRs
    jnz 1f
    and eax, 0xfffff000
    mov dword ptr [eax + 0xf0], 0x12f
    mov dword ptr [eax + 0x350], 0x700
    jmp 2f
1:  xor edx, edx
    mov ecx, 0x80f                  # spurious interrupt vector: 0x2f, an entry like the PIC's
    mov eax, 0x12f
    wrmsr
    mov ecx, 0x835                  # LINT0
    mov eax, 0x700                  # ExtINT
    wrmsr
2:

    # Page tables: the first GiB in 2 MiB pages, open to CPL 3. The rest is mapped at CPL 3 (memory.s).
    xor eax, eax
    mov edi, offset pml4
    mov ecx, 2048                   # pml4 and pdpt
    rep stosd
    mov dword ptr [pml4], offset pdpt + 7
    mov dword ptr [pdpt], offset pd0 + 7
    mov edi, offset pd0
    mov eax, 0x87                   # present, writable, user, 2 MiB
    mov ecx, 512
1:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    loop 1b

    mov eax, 0x20                   # CR4.PAE
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 0x100                   # LME
    wrmsr
    mov eax, 0x80000031             # PG, NE, ET, PE
    mov cr0, eax
    lgdt [gdt_pointer]
    ljmp SEL_CODE0, offset start64

.code64
start64:
    mov eax, SEL_DATA0
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset stack0_top

    # IDT: 32 exceptions, then 16 interrupt lines of the PIC. #UD is the service call.
    mov edi, offset idt
    mov esi, offset fault_stubs
    mov ecx, 32
1:  call set_gate
    add esi, FAULT_STUB_SIZE
    loop 1b
    mov esi, offset irq_entry
    mov ecx, 16
2:  call set_gate
    loop 2b
    mov edi, offset idt + 6 * 16
    mov esi, offset service_entry
    call set_gate
    lidt [idt_pointer]

    # TSS: only RSP0 is used. ltr marks the descriptor busy, so a second start has to free it first.
    mov eax, offset stack0_top
    mov [tss + 4], rax
    mov word ptr [tss + 102], 104   # no I/O bitmap
    mov eax, offset tss
    mov word ptr [gdt_tss + 2], ax
    shr eax, 16
    mov byte ptr [gdt_tss + 4], al
    mov byte ptr [gdt_tss + 7], ah
    mov byte ptr [gdt_tss + 5], 0x89
    mov eax, SEL_TSS
    ltr ax

    # 8259 pair: vectors 0x20 and 0x28, automatic end of interrupt, lines 0 (the PIT) and 4 (the UART) open.
    mov esi, offset io_list
    mov ecx, (io_list_end - io_list) / 4
3:  movzx edx, word ptr [rsi]
    mov al, [rsi + 2]
    out dx, al
    add esi, 4
    loop 3b

    # kvmclock: CPUID leaves at 0x40000000, or 0x40000100 behind Hyper-V's (Documentation/virt/kvm/x86/cpuid.rst).
    # Asked here, because CPUID at CPL 3 may answer for the host's processor.
    mov dword ptr [kvmclock_on], 0
    mov edi, 0x40000000
4:  mov eax, edi
    cpuid
    cmp ebx, 0x4b4d564b             # "KVMK"
    jne 5f
    cmp ecx, 0x564b4d56             # "VMKV"
    jne 5f
    cmp edx, 0x4d                   # "M"
    je 6f
5:  add edi, 0x100
    cmp edi, 0x40000200
    jb 4b
    jmp 7f
6:  lea eax, [rdi + 1]
    cpuid
    test eax, 8                     # KVM_FEATURE_CLOCKSOURCE2
    jz 7f
    mov ecx, 0x4b564d01             # MSR_KVM_SYSTEM_TIME_NEW
    mov eax, offset pvclock + 1
    xor edx, edx
    mov dword ptr [pvclock], 0
    mov dword ptr [pvclock + 24], 0
    wrmsr
    mov dword ptr [kvmclock_on], 1

7:  push SEL_DATA3
    mov eax, offset stack3_top
    push rax
    push 2                          # RFLAGS: interrupts off at CPL 3, IOPL 0
    push SEL_CODE3
    mov eax, offset user_start
    push rax
    iretq

# Writes one interrupt gate at rdi for the handler at esi (below 4 GiB); moves rdi on. Uses rax.
set_gate:
    mov eax, esi
    and eax, 0xffff
    or eax, SEL_CODE0 << 16
    mov [rdi], eax
    mov eax, esi
    and eax, 0xffff0000
    or eax, 0x8e00                  # present, DPL 0, interrupt gate
    mov [rdi + 4], eax
    xor eax, eax
    mov [rdi + 8], rax
    add edi, 16
    ret

.section .rodata
    .balign 4
# Port, value, padding.
.macro IO port, value
    .word \port
    .byte \value, 0
.endm
io_list:
    IO 0x20, 0x11                   # ICW1
    IO 0xa0, 0x11
    IO 0x21, 0x20                   # ICW2: vectors
    IO 0xa1, 0x28
    IO 0x21, 0x04                   # ICW3
    IO 0xa1, 0x02
    IO 0x21, 0x03                   # ICW4: 8086 mode, automatic EOI
    IO 0xa1, 0x01
    IO 0x21, 0xee                   # masks
    IO 0xa1, 0xff
    IO UART + 1, 0x00               # no UART interrupts
    IO UART + 3, 0x80               # divisor latch
    IO UART + 0, 0x01               # 115200 baud
    IO UART + 1, 0x00
    IO UART + 3, 0x03               # 8n1
    IO UART + 2, 0x07               # FIFOs on and empty, interrupt from one byte on
    IO UART + 4, 0x0b               # DTR, RTS, OUT2: lets the interrupt out
    IO UART + 1, 0x01               # interrupt when a byte came
io_list_end:

    .balign 8
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 8
idt_pointer:
    .word 48 * 16 - 1
    .quad idt

.section .data, "aw", @progbits
    .balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # CPL 0 code, 64-bit
    .quad 0x00cf93000000ffff        # CPL 0 data
    .quad 0x00cff3000000ffff        # CPL 3 data
    .quad 0x00affb000000ffff        # CPL 3 code, 64-bit
gdt_tss:
    .quad 0x0000890000000067        # base filled in at start
    .quad 0
gdt_end:

.section .system, "aw", @nobits
    .balign 4096
pml4:
    .skip 4096
.globl pdpt
pdpt:
    .skip 4096
pd0:
    .skip 4096
.globl idt
idt:
    .skip 48 * 16
    .balign 64
tss:
    .skip 128
    .balign 64
.globl pvclock
pvclock:
    .skip 64
.globl kvmclock_on, start_info
start_info:
    .skip 8
kvmclock_on:
    .skip 8
    .balign 16
    .skip 4096
.globl stack0_top
stack0_top:
