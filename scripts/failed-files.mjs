// Reporter of node:test: the files in which a test failed, one a line.
// oxlint-disable-next-line import/no-default-export -- node:test loads reporters so
export default async function* failedFiles(events) {
  const files = new Set();
  for await (const { type, data } of events) {
    if (type !== 'test:fail' || data.file === undefined || files.has(data.file)) continue;
    files.add(data.file);
    yield `${data.file}\n`;
  }
}
