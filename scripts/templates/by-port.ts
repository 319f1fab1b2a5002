import { decline, forward, type GatewayScript, reject } from 'culvert';

export default {
  flow(f, _env, ctx) {
    if (f.proto !== 'tcp') return decline();
    if (f.dst.port === 22) return reject({ reason: 'no ssh' });
    if (f.dst.port === 443) return forward('10.0.0.5:8443');
    ctx.log.info({ port: f.dst.port }, 'not ours');
    return decline();
  },
} satisfies GatewayScript;
