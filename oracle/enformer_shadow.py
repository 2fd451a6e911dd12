"""Adds gradients in double precision to the Enformer golden vectors: `f64_grad.*` beside `grad.*`.

    python oracle/enformer_shadow.py crates/model/tests/golden/enformer_tiny/pert

An independent Enformer in JAX on the recorded weights and inputs, differentiated in float64. One ReLU of the recorded
case lies 1.4e-7 from its kink; the released code, in float32, rounds to its other side. Needs jax, scipy, safetensors.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.special import gammaln

jax.config.update("jax_enable_x64", True)
folder = pathlib.Path(sys.argv[1])
i = load_file(folder / "inputs.safetensors")
e = load_file(folder / "eval_and_grad.safetensors")
W = {k: v.astype(np.float64) for k, v in load_file(folder / "weights.safetensors").items() if v.ndim > 0}


def feats(n,F,amax):
    nb=F//6; pos=np.arange(-n+1,n).astype(float); a=abs(pos)[:,None]
    hl=2**np.linspace(3,np.log2(n),nb); e1=np.exp(-np.log(2)/hl[None]*a)
    cw=2.0**np.arange(1,nb+1)-1; cm=(cw[None]>a).astype(float)
    sd=n/(2*nb); mean=np.linspace(n/nb,n,nb); conc=(mean/sd)**2; rate=mean/sd**2
    with np.errstate(divide='ignore',invalid='ignore'):
        xl=np.where(a==0, np.where(conc[None]-1==0,0,-np.inf), (conc[None]-1)*np.log(np.where(a==0,1,a)))
    p=np.exp(xl-rate[None]*a-(gammaln(conc)-conc*np.log(rate))[None])+1e-8
    g=p/(p.max() if amax=='all' else p.max(-1,keepdims=True) if amax=='row' else p.max(0,keepdims=True))
    f=np.concatenate([e1,cm,g],1); return np.concatenate([f,np.sign(pos)[:,None]*f],1)

def conv(x,wk,b,pad): return jax.lax.conv_general_dilated(x,wk,(1,),[(pad,pad)],dimension_numbers=('NCH','OIH','NCH'))+b[None,:,None]
gelu=lambda x: x/(1+jnp.exp(-1.702*x))
def fwd(w):
    bn=lambda x,p:(x-w[p+'.running_mean'][None,:,None])/jnp.sqrt(w[p+'.running_var']+1e-5)[None,:,None]*w[p+'.weight'][None,:,None]+w[p+'.bias'][None,:,None]
    block=lambda x,p,pad: conv(gelu(bn(x,p+'.0')),w[p+'.2.weight'],w[p+'.2.bias'],pad)
    def pool(x,p):
        Wm=w[p+'.to_attn_logits.weight'][:,:,0,0]; lg=jnp.einsum('ed,bdl->bel',Wm,x); b,d,n=x.shape
        a=jax.nn.softmax(lg.reshape(b,d,n//2,2),-1); return (x.reshape(b,d,n//2,2)*a).sum(-1)
    def ln(x,p):
        m=x.mean(-1,keepdims=True); v=((x-m)**2).mean(-1,keepdims=True); return (x-m)/jnp.sqrt(v+1e-5)*w[p+'.weight']+w[p+'.bias']
    tok=i['tokens'][:,52:52+4096]; x=np.stack([tok==7+b for b in range(4)],1).astype(float)
    x=conv(jnp.asarray(x),w['enformer.stem.0.weight'],w['enformer.stem.0.bias'],7); x=block(x,'enformer.stem.1.fn',0)+x; x=pool(x,'enformer.stem.2')
    for t in range(6):
        p=f'enformer.conv_tower.{t}'; x=block(x,p+'.0',2); x=block(x,p+'.1.fn',0)+x; x=pool(x,p+'.2')
    x=x.transpose(0,2,1); n=x.shape[1]; FE=jnp.asarray(feats(n,24,'row'))
    idx=np.arange(n)[None]-np.arange(n)[:,None]+n-1
    for t in range(2):
        p=f'enformer.transformer.{t}.0.fn.1'; y=ln(x,f'enformer.transformer.{t}.0.fn.0')
        sp=lambda z: z.reshape(2,n,4,-1).transpose(0,2,1,3)
        q,k,v=[sp(y@w[p+f'.to_{a}.weight'].T) for a in 'qkv']; q=q*.25
        c=jnp.einsum('bhid,bhjd->bhij',q+w[p+'.rel_content_bias'],k)
        rk=(FE@w[p+'.to_rel_k.weight'].T).reshape(2*n-1,4,-1).transpose(1,0,2)
        r=jnp.einsum('bhid,hjd->bhij',q+w[p+'.rel_pos_bias'],rk); r=jnp.take_along_axis(r,jnp.broadcast_to(idx,(2,4,n,n)),-1)
        o=jnp.einsum('bhij,bhjd->bhid',jax.nn.softmax(c+r,-1),v).transpose(0,2,1,3).reshape(2,n,-1)
        x=o@w[p+'.to_out.weight'].T+w[p+'.to_out.bias']+x
        p=f'enformer.transformer.{t}.1.fn'; y=ln(x,p+'.0'); x=jax.nn.relu(y@w[p+'.1.weight'].T+w[p+'.1.bias'])@w[p+'.4.weight'].T+w[p+'.4.bias']+x
    z=x[:,(n-16)//2:(n-16)//2+16]; z=gelu(block(z.transpose(0,2,1),'enformer.final_pointwise.1',0).transpose(0,2,1))
    y=jnp.concatenate([z.mean(1),i['rna_feat'].astype(float)],1)
    for k in (0,2): y=jax.nn.relu(y@w[f'pToExpr.{k}.weight'].T+w[f'pToExpr.{k}.bias'])
    y=y@w['pToExpr.4.weight'].T+w['pToExpr.4.bias']
    d=abs(y-i['target']); return jnp.where(d<1,d*d/2,d-.5).mean(), (y,z)
(l,(y,z)),g=jax.value_and_grad(fwd,has_aux=True)({k:jnp.asarray(v) for k,v in W.items()})
print(l-e['loss'], y.ravel()-e['pred'].ravel())
for name in [name for name in e if name.startswith("grad.")]:
    exact = np.asarray(g[name.removeprefix("grad.")])
    e["f64_" + name] = exact.astype(np.float32).reshape(e[name].shape)
    print(name, np.linalg.norm(exact - e[name]) / np.linalg.norm(exact))
save_file(e, folder / "eval_and_grad.safetensors")
