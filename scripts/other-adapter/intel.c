// A kernel driver for Mesa's Intel driver to start on, where there is no card: preloaded, it answers what the driver asks of
// i915 before it compiles a shader, and runs nothing. `scripts/shader-code` compiles with it.
//
//   INTEL_CARD   PCI device of the card, hexadecimal: 56a0 an Arc A770, 9a49 the graphics of an 11th generation Core
//   INTEL_NODE   a file that stands for the card's node and for its memory; it is made, and stays almost empty
//
// Answers are those of i915's interface (drm/i915_drm.h), each the least that Mesa 22.3 goes on with.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libdrm/i915_drm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xf86drm.h>

enum { EUS = 16, MOST_BUFFERS = 1 << 16 };

static const uint64_t MEMORY = 16ull << 30;

static long card(void) { return strtol(getenv("INTEL_CARD"), NULL, 16); }

/// Arc cards have memory of their own.
static int is_arc(void) { return card() >> 8 == 0x56; }

int drmGetDevice2(int fd, uint32_t flags, drmDevicePtr *out) {
    (void)fd, (void)flags;
    static drmPciBusInfo bus;
    static drmPciDeviceInfo info = {.vendor_id = 0x8086};
    static char *nodes[DRM_NODE_MAX];
    static drmDevice device = {.nodes = nodes, .available_nodes = 1 << DRM_NODE_PRIMARY | 1 << DRM_NODE_RENDER, .bustype = DRM_BUS_PCI};
    info.device_id = card();
    for (int i = 0; i < DRM_NODE_MAX; i++) nodes[i] = getenv("INTEL_NODE");
    device.businfo.pci = &bus;
    device.deviceinfo.pci = &info;
    int node = open(nodes[0], O_RDWR | O_CREAT, 0600);
    if (node < 0 || ftruncate(node, 256 * (off_t)MEMORY)) {
        perror(nodes[0]);
        exit(1);
    }
    close(node);
    *out = &device;
    return 0;
}

int drmGetDevices2(uint32_t flags, drmDevicePtr devices[], int most) {
    return devices && most > 0 ? !drmGetDevice2(-1, flags, devices) : 1;
}

void drmFreeDevice(drmDevicePtr *device) { (void)device; }

void drmFreeDevices(drmDevicePtr devices[], int n) { (void)devices, (void)n; }

int drmGetCap(int fd, uint64_t capability, uint64_t *value) {
    (void)fd, (void)capability;
    *value = 1;
    return 0;
}

static int parameter(int which) {
    switch (which) {
    case I915_PARAM_CHIPSET_ID: return card();
    case I915_PARAM_CS_TIMESTAMP_FREQUENCY: return 19200000;
    case I915_PARAM_HAS_ALIASING_PPGTT: return 3;
    case I915_PARAM_MMAP_GTT_VERSION: return 4;
    case I915_PARAM_CMD_PARSER_VERSION: return 10;
    default: return 1;
    }
}

/// Slices, their subslices and units, all present; how many there are does not change what is compiled.
static int topology(struct drm_i915_query_topology_info *out, int slices, int subslices) {
    int stride = (subslices + 7) / 8, units = 1 + slices * stride;
    int len = sizeof *out + units + slices * subslices * EUS / 8;
    if (!out) return len;
    memset(out, 0, len);
    out->max_slices = slices;
    out->max_subslices = subslices;
    out->max_eus_per_subslice = EUS;
    out->subslice_offset = 1;
    out->subslice_stride = stride;
    out->eu_offset = units;
    out->eu_stride = EUS / 8;
    out->data[0] = (1 << slices) - 1;
    for (int i = 0; i < slices * subslices; i++) out->data[1 + i / subslices * stride + i % subslices / 8] |= 1 << i % subslices % 8;
    memset(out->data + units, 0xff, slices * subslices * EUS / 8);
    return len;
}

static int engines(struct drm_i915_query_engine_info *out) {
    int len = sizeof *out + sizeof *out->engines;
    if (!out) return len;
    memset(out, 0, len);
    out->num_engines = 1;
    return len;
}

static int memory(struct drm_i915_query_memory_regions *out) {
    int n = is_arc() ? 2 : 1, len = sizeof *out + n * sizeof *out->regions;
    if (!out) return len;
    memset(out, 0, len);
    out->num_regions = n;
    for (int i = 0; i < n; i++) {
        out->regions[i].region.memory_class = i;
        out->regions[i].probed_size = out->regions[i].unallocated_size = MEMORY;
    }
    return len;
}

/// Answers one item of a query; without room for it, how long the answer is.
static int answer(const struct drm_i915_query_item *item) {
    void *out = item->length ? (void *)(uintptr_t)item->data_ptr : NULL;
    switch (item->query_id) {
    case DRM_I915_QUERY_TOPOLOGY_INFO: return is_arc() ? topology(out, 8, 4) : topology(out, 1, 6);
    case DRM_I915_QUERY_GEOMETRY_SUBSLICES: return topology(out, 1, 32);
    case DRM_I915_QUERY_ENGINE_INFO: return engines(out);
    case DRM_I915_QUERY_MEMORY_REGIONS: return memory(out);
    default: return -EINVAL;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (_IOC_TYPE(request) != DRM_IOCTL_BASE) {
        int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
        return next(fd, request, argument);
    }
    static uint32_t n_handle;
    static uint64_t place, places[MOST_BUFFERS];
    switch (_IOC_NR(request)) {
    case DRM_COMMAND_BASE + DRM_I915_GETPARAM: {
        struct drm_i915_getparam *get = argument;
        *get->value = parameter(get->param);
        break;
    }
    case DRM_COMMAND_BASE + DRM_I915_QUERY: {
        struct drm_i915_query *query = argument;
        struct drm_i915_query_item *items = (void *)(uintptr_t)query->items_ptr;
        for (uint32_t i = 0; i < query->num_items; i++) items[i].length = answer(items + i);
        break;
    }
    case DRM_COMMAND_BASE + DRM_I915_GEM_CREATE:
    case DRM_COMMAND_BASE + DRM_I915_GEM_CREATE_EXT: {
        // Both begin with size and handle. A buffer's place in the node's file is a page of its own, or several.
        struct drm_i915_gem_create *create = argument;
        create->handle = ++n_handle;
        places[create->handle % MOST_BUFFERS] = place;
        place += (create->size + 0xffff) & ~0xffffull;
        break;
    }
    case DRM_COMMAND_BASE + DRM_I915_GEM_MMAP_GTT: { // also of MMAP_OFFSET
        struct drm_i915_gem_mmap_offset *map = argument;
        map->offset = places[map->handle % MOST_BUFFERS];
        break;
    }
    case DRM_COMMAND_BASE + DRM_I915_GEM_USERPTR: ((struct drm_i915_gem_userptr *)argument)->handle = ++n_handle; break;
    case DRM_COMMAND_BASE + DRM_I915_GEM_CONTEXT_CREATE: ((struct drm_i915_gem_context_create *)argument)->ctx_id = 1; break;
    case DRM_COMMAND_BASE + DRM_I915_GEM_CONTEXT_GETPARAM: {
        struct drm_i915_gem_context_param *get = argument;
        get->value = get->param == I915_CONTEXT_PARAM_GTT_SIZE ? 1ull << 48 : 1;
        break;
    }
    case DRM_COMMAND_BASE + DRM_I915_GEM_VM_CREATE: ((struct drm_i915_gem_vm_control *)argument)->vm_id = 1; break;
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE): ((struct drm_syncobj_create *)argument)->handle = ++n_handle; break;
    default: break;
    }
    return 0;
}
