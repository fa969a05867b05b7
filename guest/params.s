# The command line: words `name=value`, separated by blanks. README.md lists them.

.include "defs.inc"

.section .text
.code64

# Sets the defaults, then what the command line says; a word that is not understood is named in a WARN line. Changes most.
.globl parse_params
parse_params:
    mov dword ptr [param_hb], 200
    mov qword ptr [param_ws_pages], -1
    mov esi, offset cmdline
next_word:
    mov al, [rsi]
    test al, al
    jz done
    cmp al, ' '
    ja 1f
    inc rsi
    jmp next_word
1:  mov rbx, rsi                    # start of the word
    mov r8d, offset table
2:  mov rdi, [r8]                   # name
    test rdi, rdi
    jz unknown
    mov rsi, rbx
3:  mov al, [rdi]
    test al, al
    jz 4f
    cmp al, [rsi]
    jne 5f
    inc rdi
    inc rsi
    jmp 3b
5:  add r8, 24
    jmp 2b
4:  mov rdi, [r8 + 8]               # where the value goes
    cmp rdi, offset param_rate
    jne 6f
    call parse_rate
    jmp 7f
6:  call parse_number
7:  jc unknown
    cmp rax, [r8 + 16]              # least value
    jb unknown
    mov [rdi], rax
    jmp next_word
unknown:
    mov esi, offset text_unknown
    call put_text
    mov rsi, rbx
1:  mov al, [rsi]
    cmp al, ' '
    jbe 2f
    call put_char
    inc rsi
    jmp 1b
2:  mov rbx, rsi
    call put_line
    mov rsi, rbx
    jmp next_word
done:
    ret

# As parse_number, or `max` for RATE_MAX.
.globl parse_rate
parse_rate:
    cmp word ptr [rsi], 0x616d      # "ma"
    jne parse_number
    cmp byte ptr [rsi + 2], 'x'
    jne parse_number
    cmp byte ptr [rsi + 3], ' '
    ja 1f
    add rsi, 3
    mov rax, RATE_MAX
    clc
    ret
1:  stc
    ret

# Reads a decimal number at rsi, up to a blank or the end. Carry: none there, or above RATE_LIMIT. rax = the number.
# Changes rcx, rsi.
parse_number:
    xor eax, eax
    movzx ecx, byte ptr [rsi]
    cmp cl, ' '
    jbe 3f
1:  movzx ecx, byte ptr [rsi]
    cmp cl, ' '
    jbe 2f
    sub ecx, '0'
    cmp ecx, 9
    ja 3f
    imul rax, rax, 10
    add rax, rcx
    cmp rax, RATE_LIMIT
    ja 3f
    inc rsi
    jmp 1b
2:  clc
    ret
3:  stc
    ret

.section .rodata
    .balign 8
# Name, variable, least value.
table:
    .quad name_fill, param_fill, 0
    .quad name_ws, param_ws, 0
    .quad name_ws_pages, param_ws_pages, 0
    .quad name_ws_at, param_ws_at, 0
    .quad name_rate, param_rate, 0
    .quad name_hb, param_hb, 1
    .quad 0
name_fill:     .asciz "fill="
name_ws:       .asciz "ws="
name_ws_pages: .asciz "ws-pages="
name_ws_at:    .asciz "ws-at="
name_rate:     .asciz "rate="
name_hb:       .asciz "hb="
text_unknown:  .asciz "WARN parameter ignored: "

.section .bss, "aw", @nobits
    .balign 8
.globl param_fill, param_ws, param_ws_pages, param_ws_at, param_rate, param_hb
param_fill:     .skip 8             # MiB
param_ws:       .skip 8             # MiB
param_ws_pages: .skip 8             # pages; -1: not given
param_ws_at:    .skip 8             # MiB
param_rate:     .skip 8             # pages a second, or RATE_MAX
param_hb:       .skip 8             # ms
