# Text at CPL 3. A line is built in a buffer at r15 (the next free byte) and sent by one service call.

.include "defs.inc"

.set LINE_BYTES, 1024

.section .text
.code64

# Appends the zero-terminated text at rsi. Changes rsi, al.
.globl put_text
put_text:
1:  lodsb
    test al, al
    jz 2f
    call put_char
    jmp 1b
2:  ret

# Appends al. A full line drops what does not fit, save its last byte, which is for the newline.
.globl put_char
put_char:
    cmp r15, offset line + LINE_BYTES - 1
    jae 1f
    mov [r15], al
    inc r15
1:  ret

# Appends rax in decimal. Changes rax, rcx, rdx, rsi.
.globl put_decimal
put_decimal:
    mov esi, offset digits_end
    mov ecx, 10
1:  xor edx, edx
    div rcx
    add dl, '0'
    dec rsi
    mov [rsi], dl
    test rax, rax
    jnz 1b
2:  mov al, [rsi]
    call put_char
    inc rsi
    cmp rsi, offset digits_end
    jb 2b
    ret

# Appends rax as 0x and 16 hexadecimal digits. Changes rax, rcx, rdx.
.globl put_hex
put_hex:
    mov rdx, rax
    mov al, '0'
    call put_char
    mov al, 'x'
    call put_char
    mov ecx, 16
1:  rol rdx, 4
    mov eax, edx
    and eax, 15
    mov al, [hex_digits + rax]
    call put_char
    dec ecx
    jnz 1b
    ret

# Ends the line with \n and sends it. Changes rax, rcx, rdx, rsi, rdi.
.globl put_line
put_line:
    mov byte ptr [r15], 10
    inc r15
    mov esi, offset line
    mov rcx, r15
    sub rcx, rsi
    SVC SVC_WRITE
.globl new_line
new_line:
    mov r15d, offset line
    ret

.section .bss, "aw", @nobits
line:       .skip LINE_BYTES
digits:     .skip 24
digits_end: .skip 8
