/** The bench's command line. */
import { parseArgs } from 'node:util';
import type { Policy } from './hosts.js';
import { SCENARIOS, type Scenario } from './scenarios.js';

export interface BenchOptions {
  readonly pairs: number;
  readonly timeoutMs: number;
  readonly scenarios: readonly Scenario[];
  readonly policy: Policy;
  readonly json: string | undefined;
  readonly help: boolean;
}

export const HELP = `Compares live migration by vmhostd with that by QEMU: npm run bench -- [OPTION]...

  --pairs N         migrations by each, in turns, for each scenario (default 5)
  --scenario NAME   one of ${SCENARIOS.map(({ name }) => name).join(', ')}; may be repeated (default: all)
  --policy NAME     vmhostd's policy: mplm (default) or precopy, the kind that QEMU has
  --timeout S       seconds after which a migration is cancelled (default 20)
  --json FILE       writes every single figure to FILE
  --help            this text
`;

/** @throws Error with one sentence naming option and value */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      pairs: { type: 'string', default: '5' },
      scenario: { type: 'string', multiple: true, default: [] },
      policy: { type: 'string', default: 'mplm' },
      timeout: { type: 'string', default: '20' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { policy } = values;
  if (policy !== 'mplm' && policy !== 'precopy') throw new Error(`--policy: '${policy}' is neither mplm nor precopy`);
  const chosen = values.scenario.map((name) => {
    const scenario = SCENARIOS.find((candidate) => candidate.name === name);
    if (!scenario) throw new Error(`--scenario: there is no '${name}'`);
    return scenario;
  });
  return {
    pairs: positive('--pairs', values.pairs),
    timeoutMs: positive('--timeout', values.timeout) * 1000,
    scenarios: chosen.length > 0 ? chosen : SCENARIOS,
    policy,
    json: values.json,
    help: values.help,
  };
}

/** @throws Error with one sentence naming option and value */
export function positive(option: string, text: string): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (value < 1) throw new Error(`${option}: '${text}' is no number from 1 on`);
  return value;
}
