/** Arithmetic on a command line, by the rules of QEMU's monitor (get_expr of monitor/hmp.c): int64, C's division. */
import { HmpSyntaxError, type Scanner } from './scanner.js';

/** The value of a register of the current CPU by its name in the monitor; undefined where there is none of that name. */
export type ReadRegister = (name: string) => Promise<bigint | undefined>;

/** Operators by precedence, loosest first. As in QEMU `+` binds less tightly than `&`. */
const OPERATORS: readonly string[] = ['+-', '&|^', '*/%'];

/** Levels of signs and parentheses that are followed. */
const MAX_NESTING = 200;

/** Reads an expression and the spaces after it. @throws HmpSyntaxError */
export function readExpression(scan: Scanner, register: ReadRegister): Promise<bigint> {
  scan.skipSpaces();
  return new Expression(scan, register).operation(0);
}

class Expression {
  readonly #scan: Scanner;
  readonly #register: ReadRegister;
  #nesting = 0;

  constructor(scan: Scanner, register: ReadRegister) {
    this.#scan = scan;
    this.#register = register;
  }

  async operation(precedence: number): Promise<bigint> {
    const operators = OPERATORS[precedence];
    if (operators === undefined) return this.#operand();
    let value = await this.operation(precedence + 1);
    while (!this.#scan.atEnd && operators.includes(this.#scan.next)) {
      const operator = this.#advance();
      value = BigInt.asIntN(64, apply(operator, value, await this.operation(precedence + 1)));
    }
    return value;
  }

  /** Takes one character and the spaces after it. */
  #advance(): string {
    const char = this.#scan.next;
    this.#scan.at++;
    this.#scan.skipSpaces();
    return char;
  }

  async #operand(): Promise<bigint> {
    if (++this.#nesting > MAX_NESTING) throw new HmpSyntaxError('expression is nested too deeply');
    const value = await this.#value();
    this.#nesting--;
    return BigInt.asIntN(64, value);
  }

  async #value(): Promise<bigint> {
    const scan = this.#scan;
    switch (scan.next) {
      case '+':
        this.#advance();
        return this.#operand();
      case '-':
        this.#advance();
        return -(await this.#operand());
      case '~':
        this.#advance();
        return ~(await this.#operand());
      case '(': {
        this.#advance();
        const value = await this.operation(0);
        if (this.#advance() !== ')') throw new HmpSyntaxError("')' expected");
        return value;
      }
      case "'":
        return this.#character();
      case '$': {
        scan.at++;
        const name = scan.take(/[A-Za-z0-9_.]*/y) as string;
        scan.skipSpaces();
        const value = await this.#register(name);
        if (value === undefined) throw new HmpSyntaxError('unknown register');
        return value;
      }
      case '':
        throw new HmpSyntaxError('unexpected end of expression');
      default:
        return this.#number();
    }
  }

  #character(): bigint {
    const scan = this.#scan;
    scan.at++;
    if (scan.atEnd) throw new HmpSyntaxError('character constant expected');
    const code = scan.text.charCodeAt(scan.at);
    scan.at++;
    if (scan.next !== "'") throw new HmpSyntaxError("missing terminating ' character");
    this.#advance();
    return BigInt(code);
  }

  /** What strtoull(3) with base 0 takes. */
  #number(): bigint {
    const digits = this.#scan.take(/0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*/y);
    if (digits === undefined) throw new HmpSyntaxError(`invalid char '${this.#scan.next}' in expression`);
    const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits}` : digits);
    if (value >= 2n ** 64n) throw new HmpSyntaxError('number too large');
    this.#scan.skipSpaces();
    return value;
  }
}

function apply(operator: string, a: bigint, b: bigint): bigint {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '*':
      return a * b;
    default:
      if (b === 0n) throw new HmpSyntaxError('division by zero');
      return operator === '/' ? a / b : a % b;
  }
}
