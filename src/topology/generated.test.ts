import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jsonSchemaText, topologyOptions, withOptionTable } from './json-schema.ts';

const folder = new URL('../../topologies/', import.meta.url);
const refresh = 'npx vitest run --project unit src/topology/generated.test.ts -u';

// `toMatchFileSnapshot` compares, and writes the file when the command above is run.
describe(`what is generated from the schema is up to date; if not: ${refresh}`, () => {
  it('topologies/topology.schema.json', async () => {
    await expect(jsonSchemaText(), `stale; run: ${refresh}`).toMatchFileSnapshot(
      '../../topologies/topology.schema.json',
    );
  });

  it('the options in topologies/README.md', async () => {
    const readme = readFileSync(new URL('README.md', folder), 'utf8');
    await expect(withOptionTable(readme), `stale; run: ${refresh}`).toMatchFileSnapshot('../../topologies/README.md');
  });
});

describe('the reference', () => {
  it('describes every option, and shows an example of each that does not consist of others', () => {
    const options = topologyOptions();
    expect(options.length).toBeGreaterThan(40);
    for (const { path, description, example } of options) {
      expect(description, path).toMatch(/^\S.*\.$/);
      const hasParts = options.some(
        (other) => other.path.startsWith(`${path}.`) || other.path.startsWith(`${path}[].`),
      );
      expect(example !== undefined, path).toBe(!hasParts);
    }
  });
});
