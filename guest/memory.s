# What memory there is, which of it is filled, and the page tables for it. CPL 3, identity mapping.
#
# struct hvm_start_info and hvm_memmap_table_entry: xen/include/public/arch-x86/hvm/start_info.h.

.include "defs.inc"

.set CMDLINE_BYTES, 1024
.set MAX_MAP, 64
.set GIB_LIMIT, 512                 # one page directory pointer table

.section .text
.code64

# Fills the page directory at rdi for GiB number rax and enters it in the table. Changes rcx, rdx, rdi, r8.
map_gib:
    mov r8, rdi
    mov rdx, rax
    shl rdx, 30
    or rdx, 0x87                    # present, writable, user, 2 MiB
    mov ecx, 512
1:  mov [rdi], rdx
    add rdx, 0x200000
    add rdi, 8
    dec ecx
    jnz 1b
    or r8, 7
    mov [pdpt + rax * 8], r8
    ret

# Maps GiB 1 to 3; boot.s has mapped the first. Changes rax, rcx, rdx, rdi, r8.
.globl map_low
map_low:
    mov edi, offset low_tables
    mov eax, 1
1:  call map_gib
    inc eax
    cmp eax, 4
    jb 1b
    ret

# Copies the command line and the memory map out of the way of the fill; stops with a line if there is no map.
.globl read_start_info
read_start_info:
    mov rbx, [start_info]
    mov esi, offset text_no_info
    cmp dword ptr [rbx], 0x336ec578
    jne die
    mov esi, offset text_no_map
    cmp dword ptr [rbx + 4], 1      # the map came with version 1
    jb die
    mov rdx, [rbx + 40]
    mov ecx, [rbx + 48]
    test ecx, ecx
    jz die
    mov rax, rdx
    shr rax, 32
    jnz die                         # above what is mapped
    cmp ecx, MAX_MAP
    jbe 1f
    mov ecx, MAX_MAP
1:  mov [map_count], ecx
    imul ecx, ecx, 24 / 8
    mov rsi, rdx
    mov edi, offset map
    rep movsq
    mov rsi, [rbx + 24]
    mov rax, rsi
    shr rax, 32
    jnz 3f
    test rsi, rsi
    jz 3f
    mov edi, offset cmdline
    mov ecx, CMDLINE_BYTES - 1
2:  lodsb
    stosb
    test al, al
    jz 3f
    dec ecx
    jnz 2b
3:  ret

# Prints ERROR and the text at rsi, and stops.
.globl die
die:
    mov rbx, rsi
    mov esi, offset text_error
    call put_text
    mov rsi, rbx
    call put_text
    call put_line
    SVC SVC_HALT

# Turns the map into page-aligned RAM ranges below GIB_LIMIT, counts RAM, and finds where the fill may begin: behind the
# image and the page tables of the GiB above 4. Sets ram_mib. Changes most registers.
.globl read_map
read_map:
    mov esi, offset map
    mov ecx, [map_count]
    xor r8d, r8d                    # bytes of RAM
    mov r9, 4 << 30                 # top of RAM
    mov r11, GIB_LIMIT << 30
1:  cmp dword ptr [rsi + 16], 1     # RAM
    jne 3f
    mov rax, [rsi]
    mov rdx, [rsi + 8]
    cmp rax, r11
    jae 3f
    add r8, rdx
    mov r10, r11
    sub r10, rax
    cmp rdx, r10
    jbe 2f
    mov rdx, r10
2:  add rdx, rax
    add rax, 4095
    and rax, -4096
    and rdx, -4096
    mov [rsi], rax                  # first address
    mov [rsi + 8], rdx              # end
    cmp rdx, rax
    jbe 3f
    cmp rdx, r9
    jbe 4f
    mov r9, rdx
    jmp 4f
3:  mov dword ptr [rsi + 16], 0     # not to be used
4:  add rsi, 24
    dec ecx
    jnz 1b
    add r8, 0xfffff
    shr r8, 20
    mov [ram_mib], r8
    # One page table page for each GiB above 4.
    add r9, (1 << 30) - 1
    shr r9, 30
    sub r9, 4
    shl r9, 12
    lea rax, [r9 + image_end + 0x1fffff]
    and rax, -0x200000
    mov [fill_base], rax
    ret

# Takes rax pages for the fill, in the order of the memory map; writes the segments and P_FILL in the progress page and maps
# what lies above 4 GiB. Fewer are taken when there are no more. Changes most registers.
.globl take_memory
take_memory:
    mov r11, rax
    xor r8d, r8d                    # pages taken
    xor r9d, r9d                    # segments
    mov esi, offset map
    mov r10d, [map_count]
1:  cmp dword ptr [rsi + 16], 1
    jne 4f
    mov rdi, [rsi]
    cmp rdi, [fill_base]
    jae 2f
    mov rdi, [fill_base]
2:  mov rcx, [rsi + 8]
    sub rcx, rdi
    jbe 4f
    shr rcx, 12
    mov rax, r11
    sub rax, r8
    jz 5f
    cmp rcx, rax
    jbe 3f
    mov rcx, rax
3:  add r8, rcx
    mov rax, r9
    shl rax, 4
    mov [progress + P_TABLE + rax], rdi
    mov [progress + P_TABLE + 8 + rax], rcx
    inc r9
    cmp r9, MAX_SEGMENTS
    jae 5f
4:  add rsi, 24
    dec r10d
    jnz 1b
5:  mov [progress + P_FILL], r8
    mov [progress + P_SEGMENTS], r9

    # Page tables.
    mov esi, offset progress + P_TABLE
6:  test r9, r9
    jz 9f
    mov rax, [rsi]
    mov r10, [rsi + 8]
    shl r10, 12
    lea r10, [r10 + rax - 1]
    shr r10, 30                     # last GiB
    shr rax, 30                     # first GiB
7:  cmp qword ptr [pdpt + rax * 8], 0
    jne 8f
    lea rdi, [rax - 4]
    shl rdi, 12
    add rdi, offset image_end
    call map_gib
8:  inc rax
    cmp rax, r10
    jbe 7b
    add rsi, 16
    dec r9
    jmp 6b
9:  ret

# Page number rax of the fill: rdi = its address, rcx = pages from it on in the same segment. rax has to be below P_FILL.
# Changes rax, rsi.
.globl locate
locate:
    mov esi, offset progress + P_TABLE
1:  mov rcx, [rsi + 8]
    cmp rax, rcx
    jb 2f
    sub rax, rcx
    add rsi, 16
    jmp 1b
2:  sub rcx, rax
    mov rdi, rax
    shl rdi, 12
    add rdi, [rsi]
    ret

.section .rodata
text_error:   .asciz "ERROR "
text_no_info: .asciz "no hvm_start_info at the address in ebx"
text_no_map:  .asciz "no memory map in hvm_start_info"

.section .bss, "aw", @nobits
    .balign 4096
low_tables: .skip 3 * 4096
map:        .skip MAX_MAP * 24
map_count:  .skip 8
fill_base:  .skip 8
.globl ram_mib
ram_mib:    .skip 8
.globl cmdline
cmdline:    .skip CMDLINE_BYTES
