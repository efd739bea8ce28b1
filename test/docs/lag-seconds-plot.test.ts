import { expect, it, vi } from 'vitest'

// This also draws the picture: npx vitest run lag-seconds-plot --update
it('the plot in the documentation shows what the code does', async () => {
  // When samples go depends on how many histories there were before. A new copy of the package has had none.
  vi.resetModules()
  const { plotLagSeconds } = await import('./lag-seconds-plot.js')
  await expect(plotLagSeconds()).toMatchFileSnapshot('../../docs/lag-seconds.svg')
})
