export default {
  base: './',
  esbuild: { jsx: 'automatic' },
  build: { chunkSizeWarningLimit: 10_000, target: 'es2022' },
}
