#!/usr/bin/env bash
# Checks .glb files with the Khronos glTF validator: no error, warning, info or hint.
#   npm install gltf-validator && tools/validate_gltf.sh runs/x/export/extract/model.glb
# GLTF_VALIDATOR names the package's folder when it is not ./node_modules/gltf-validator.
set -euo pipefail
export GLTF_VALIDATOR="${GLTF_VALIDATOR:-$(cd "$(dirname "$0")/.." && pwd)/node_modules/gltf-validator}"
if [ $# -eq 0 ] || [ ! -d "$GLTF_VALIDATOR" ]; then
  echo "usage: tools/validate_gltf.sh MODEL.glb ...   (first: npm install gltf-validator)" >&2
  exit 2
fi
exec node - "$@" <<'JS'
const fs = require("fs");
const validator = require(process.env.GLTF_VALIDATOR);
(async () => {
  let bad = 0;
  for (const path of process.argv.slice(2)) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(path)));
    const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
    console.log(`${path}: ${numErrors} errors, ${numWarnings} warnings, ` +
      `${numInfos} infos, ${numHints} hints (validator ${validator.version()})`);
    for (const m of messages.slice(0, 20)) console.log(`  ${m.code} ${m.pointer}: ${m.message}`);
    bad += numErrors + numWarnings + numInfos + numHints;
  }
  process.exit(bad ? 1 : 0);
})();
JS
