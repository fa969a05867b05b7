// Counts the tests of TAP files, prints which were skipped and why, and closes with one line. Fails when a test failed, when none ran, and when
// a test that needs KVM was skipped although /dev/kvm opens.
import { closeSync, constants, openSync, readFileSync } from 'node:fs';

function kvmOpens() {
  try {
    closeSync(openSync('/dev/kvm', constants.O_RDWR));
    return true;
  } catch {
    return false;
  }
}

const counts = { passed: 0, failed: 0, skipped: 0 };
const reasons = new Map();
for (const file of process.argv.slice(2)) {
  // A test is a line of the first level inside a file; a file that could not run at all is a failing line of the level above.
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const match = /^( {4})?(not )?ok \d+ - (.*?)( # SKIP ?(.*))?$/i.exec(line);
    if (!match) continue;
    const [, inner, not, title, skip, reason = 'no reason given'] = match;
    const isFile = !inner && /\.test\.js/.test(title);
    if (not) counts.failed++;
    else if (skip) {
      counts.skipped++;
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    } else if (!isFile) counts.passed++;
  }
}
for (const [reason, count] of reasons) console.log(`skipped ${count}: ${reason}`);
let status = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
const kvmSkips = [...reasons.keys()].filter((reason) => /kvm/i.test(reason));
if (kvmSkips.length > 0 && kvmOpens()) {
  console.log(`/dev/kvm opens, and yet tests were skipped: ${kvmSkips.join('; ')}`);
  status = 1;
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(status);
