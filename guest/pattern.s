# The pattern, from which memory can be verified.
#
# Word i (0..511, little endian) of page p (address / 4096) in generation g is
#     (g << 32 | p) * PATTERN_MUL + i * PATTERN_STEP        modulo 2^64.
# PATTERN_MUL is odd, so a word found somewhere tells which page and generation it belongs to.

.include "defs.inc"

.section .text
.code64

# rax = word 0 of the page at rdi in generation rdx. Changes rcx, rdx.
first_word:
    mov rax, rdi
    shr rax, 12
    shl rdx, 32
    or rax, rdx
    mov rcx, PATTERN_MUL
    imul rax, rcx
    ret

# Writes the page at rdi in generation rdx; rdi then points behind it. Changes rax, rcx, rdx.
.globl pattern_write
pattern_write:
    call first_word
    mov rcx, PATTERN_STEP
    mov edx, 512 / 8
1:
    .set offset8, 0
    .rept 8
    mov [rdi + offset8], rax
    add rax, rcx
    .set offset8, offset8 + 8
    .endr
    add rdi, 64
    dec edx
    jnz 1b
    ret

# Compares the page at rdi with generation rdx. Zero flag set: as it should be. Otherwise rax = the first word wanted
# and not found, r8 = the word found. Changes rax, rcx, rdx, rdi.
.globl pattern_check
pattern_check:
    call first_word
    mov rcx, PATTERN_STEP
    mov edx, 512
1:  mov r8, [rdi]
    cmp r8, rax
    jne 2f
    add rax, rcx
    add rdi, 8
    dec edx
    jnz 1b
2:  ret
