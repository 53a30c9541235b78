/** As much of JSON Schema as docs/api uses. Anything else in a schema is an error: a check that looks away is none. */

export type Schema = { readonly [keyword: string]: unknown };

const KNOWN = new Set([
  ...['$ref', 'type', 'enum', 'required', 'additionalProperties', 'properties', 'items', 'oneOf'],
  ...['description', 'format', 'default', 'minimum', 'maximum', 'minLength', 'maxLength'],
]);

export class SchemaChecker {
  readonly #root: Schema;
  /** Members of schemas that a value has had, as `SCHEMA.member`. */
  readonly seen = new Set<string>();

  /** `root` resolves references. */
  constructor(root: Schema) {
    this.#root = root;
  }

  /** What is wrong with `value`; empty when nothing is. `name` says where the schema is. */
  check(value: unknown, schema: Schema, name: string, at = '$'): string[] {
    for (const keyword of Object.keys(schema)) {
      if (!KNOWN.has(keyword)) throw new Error(`${name}: keyword "${keyword}" is not checked`);
    }
    const reference = schema['$ref'] as string | undefined;
    if (reference !== undefined) return this.check(value, this.resolve(reference), reference, at);
    const oneOf = schema['oneOf'] as readonly Schema[] | undefined;
    if (oneOf) {
      const problems = oneOf.map((one) => this.check(value, one, name, at));
      const fits = problems.filter((list) => list.length === 0).length;
      return fits === 1 ? [] : [`${at}: fits ${fits} of oneOf: ${problems.flat().join('; ')}`];
    }
    return [...this.#checkValue(value, schema, at), ...this.#checkMembers(value, schema, name, at)];
  }

  resolve(reference: string): Schema {
    let found: unknown = this.#root;
    for (const part of reference.replace(/^#\//, '').split('/')) found = (found as Schema)[part];
    if (typeof found !== 'object' || found === null) throw new Error(`${reference} leads nowhere`);
    return found as Schema;
  }

  #checkValue(value: unknown, schema: Schema, at: string): string[] {
    const problems: string[] = [];
    const types = [schema['type'] ?? []].flat() as string[];
    if (!types.some((type) => hasType(value, type))) {
      problems.push(`${at}: ${JSON.stringify(value)} is no ${types.join(' or ')}`);
    }
    const allowed = schema['enum'] as unknown[] | undefined;
    if (allowed && !allowed.includes(value))
      problems.push(`${at}: ${JSON.stringify(value)} is not in the enum`);
    if (schema['format'] === 'date-time' && typeof value === 'string') {
      if (Number.isNaN(Date.parse(value))) problems.push(`${at}: ${value} is no time`);
    }
    return problems;
  }

  #checkMembers(value: unknown, schema: Schema, name: string, at: string): string[] {
    if (Array.isArray(value)) {
      const items = schema['items'] as Schema;
      return value.flatMap((item, i) => this.check(item, items, `${name}[]`, `${at}[${i}]`));
    }
    if (typeof value !== 'object' || value === null) return [];
    const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
    const rest = schema['additionalProperties'];
    const missing = ((schema['required'] ?? []) as string[]).filter((key) => !Object.hasOwn(value, key));
    const problems = missing.map((key) => `${at}: ${key} is missing`);
    for (const [key, member] of Object.entries(value)) {
      const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
      if (known) this.seen.add(`${name}.${key}`);
      if (!known && typeof rest !== 'object') problems.push(`${at}: ${key} is not in the schema`);
      else problems.push(...this.check(member, known ?? (rest as Schema), `${name}.${key}`, `${at}.${key}`));
    }
    return problems;
  }

  /** Every `SCHEMA.member` below a schema, those of references included. */
  members(schema: Schema, name: string, found: Set<string> = new Set()): Set<string> {
    const reference = schema['$ref'] as string | undefined;
    if (reference !== undefined) return this.members(this.resolve(reference), reference, found);
    for (const one of (schema['oneOf'] ?? []) as Schema[]) this.members(one, name, found);
    if (schema['items']) this.members(schema['items'] as Schema, `${name}[]`, found);
    for (const [key, member] of Object.entries((schema['properties'] ?? {}) as Record<string, Schema>)) {
      found.add(`${name}.${key}`);
      this.members(member, `${name}.${key}`, found);
    }
    return found;
  }
}

function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isSafeInteger(value);
    default:
      return typeof value === type;
  }
}
